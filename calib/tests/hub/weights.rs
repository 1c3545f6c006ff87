//! Which weight files of a repository are fetched.

use crate::fake_hub::FakeHub;
use crate::{MODEL, id, options};
use calib::hub::{FetchOptions, HubError, Silent, fetch_model};
use std::path::Path;

#[test]
fn shards_are_those_the_index_names() {
    let (hub, cache) = (FakeHub::start(), tempfile::tempdir().unwrap());
    let index =
        "{\"weight_map\": {\"a\": \"model-1.safetensors\", \"b\": \"model-2.safetensors\"}}";
    hub.add(MODEL, "config.json", "{}");
    hub.add(MODEL, "model.safetensors.index.json", index);
    hub.add_large(MODEL, "model-1.safetensors", "one");
    hub.add_large(MODEL, "consolidated.safetensors", "all");
    let options = options(&hub, cache.path());
    let error = fetch_model(&id("owner/tiny"), &options, &Silent).unwrap_err();
    assert!(
        matches!(&error, HubError::FileNotFound { file, nearest: Some(near), .. }
            if file == "model-2.safetensors" && near == "model-1.safetensors"),
        "{error:?}"
    );
    hub.add_large(MODEL, "model-2.safetensors", "two");
    let snapshot = fetch_model(&id("owner/tiny"), &options, &Silent).unwrap();
    assert_eq!(
        fs_err::read(snapshot.folder.join("model-2.safetensors")).unwrap(),
        b"two"
    );
    assert!(!snapshot.folder.join("consolidated.safetensors").exists());

    let offline = FetchOptions {
        offline: true,
        ..options
    };
    assert_eq!(
        fetch_model(&id("owner/tiny"), &offline, &Silent).unwrap(),
        snapshot
    );
    fs_err::remove_file(snapshot.folder.join("model-2.safetensors")).unwrap();
    let error = fetch_model(&id("owner/tiny"), &offline, &Silent).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("model-2.safetensors is missing"),
        "{error}"
    );
}

#[test]
fn files_of_pytorch_are_fetched_where_there_are_no_safetensors() {
    let (hub, cache) = (FakeHub::start(), tempfile::tempdir().unwrap());
    let index = "{\"weight_map\": {\"a\": \"pytorch_model-1.bin\"}}";
    hub.add(MODEL, "config.json", "{}");
    hub.add(MODEL, "pytorch_model.bin.index.json", index);
    hub.add_large(MODEL, "pytorch_model-1.bin", "one");
    hub.add_large(MODEL, "training_args.bin", "not needed");
    let options = options(&hub, cache.path());
    let snapshot = fetch_model(&id("owner/tiny"), &options, &Silent).unwrap();
    let names = |folder: &Path| {
        let entries = fs_err::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let fetched = [
        "config.json",
        "pytorch_model-1.bin",
        "pytorch_model.bin.index.json",
    ];
    assert_eq!(names(&snapshot.folder), fetched);
    let offline = FetchOptions {
        offline: true,
        ..options.clone()
    };
    assert_eq!(
        fetch_model(&id("owner/tiny"), &offline, &Silent).unwrap(),
        snapshot
    );
    // One file goes before shards.
    hub.add_large("models/owner/single", "pytorch_model.bin", "all");
    hub.add("models/owner/single", "config.json", "{}");
    let snapshot = fetch_model(&id("owner/single"), &options, &Silent).unwrap();
    assert_eq!(
        names(&snapshot.folder),
        ["config.json", "pytorch_model.bin"]
    );
}
