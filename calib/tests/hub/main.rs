//! Downloads against a small Hub on loopback.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on may stop")]
#![cfg(feature = "hub")]

mod fake_hub;
mod http;
mod weights;

use calib::data::{Content, DataSpec, NoSampler, Request, load};
use calib::hub::{
    FetchOptions, HubError, HubEvent, HubProgress, RepoId, RepoType, Silent, fetch_file,
    fetch_model,
};
use fake_hub::{COMMIT, FakeHub};
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

const CHUNK: usize = 64 << 10;
const MODEL: &str = "models/owner/tiny";

fn options(hub: &FakeHub, cache: &Path) -> FetchOptions {
    FetchOptions {
        token: None,
        cache_folder: Some(cache.to_owned()),
        endpoint: Some(hub.endpoint()),
        offline: false,
        retries: 2,
        retry_delay: Duration::from_millis(1),
        chunk_bytes: CHUNK as u64,
    }
}

fn id(text: &str) -> RepoId {
    RepoId::parse(text).unwrap()
}

/// Bytes without a period that fits a chunk.
fn weights() -> Vec<u8> {
    (0..5 * CHUNK + 321)
        .map(|i| u8::try_from(i * i % 251).unwrap())
        .collect()
}

fn hub_with_model() -> FakeHub {
    let hub = FakeHub::start();
    hub.add(MODEL, "config.json", "{\"model_type\": \"llama\"}");
    hub.add(MODEL, "tokenizer.json", "{}");
    hub.add(MODEL, "1_Pooling/config.json", "{}");
    hub.add(MODEL, "README.md", "# tiny");
    hub.add_large(MODEL, "pytorch_model.bin", weights());
    hub.add_large(MODEL, "model.safetensors", weights());
    hub
}

/// Keeps how far each file came.
#[derive(Default)]
struct Log(Mutex<Vec<String>>);

impl HubProgress for Log {
    fn event(&self, event: HubEvent<'_>) {
        self.0.lock().unwrap().push(format!("{event:?}"));
    }
}

#[test]
fn a_model_comes_with_what_is_needed_and_nothing_else() {
    let (hub, cache) = (hub_with_model(), tempfile::tempdir().unwrap());
    let log = Log::default();
    let snapshot = fetch_model(&id("owner/tiny"), &options(&hub, cache.path()), &log).unwrap();
    assert_eq!(snapshot.commit, COMMIT);
    assert_eq!(
        fs_err::read(snapshot.folder.join("model.safetensors")).unwrap(),
        weights()
    );
    assert!(snapshot.folder.join("1_Pooling/config.json").exists());
    assert!(!snapshot.folder.join("README.md").exists());
    assert!(!snapshot.folder.join("pytorch_model.bin").exists());
    let log = log.0.into_inner().unwrap();
    assert_eq!(
        log.first().unwrap(),
        &format!("Started {{ files: 4, bytes: {} }}", weights().len() + 27)
    );
    assert_eq!(log.last().unwrap(), "Finished");

    // A second run asks for the commit and the list only.
    hub.state().served.clear();
    let again = fetch_model(&id("owner/tiny@v1"), &options(&hub, cache.path()), &Silent).unwrap();
    assert_eq!(again, snapshot);
    assert!(hub.state().served.is_empty(), "{:?}", hub.state().served);
}

#[test]
fn a_cut_transfer_goes_on_within_the_run() {
    let (hub, cache) = (hub_with_model(), tempfile::tempdir().unwrap());
    hub.state().cuts = 2;
    hub.state().cut_from = 2 * CHUNK;
    let snapshot = fetch_model(&id("owner/tiny"), &options(&hub, cache.path()), &Silent).unwrap();
    assert_eq!(
        fs_err::read(snapshot.folder.join("model.safetensors")).unwrap(),
        weights()
    );
    let starts: Vec<String> = [0, 1, 2, 2, 2, 3, 4, 5]
        .map(|chunk| format!("model.safetensors {}", chunk * CHUNK))
        .to_vec();
    let state = hub.state();
    let served: Vec<&String> = state
        .served
        .iter()
        .filter(|line| line.starts_with("model.safetensors"))
        .collect();
    assert_eq!(served, starts.iter().collect::<Vec<_>>());
}

#[test]
fn a_transfer_cut_for_good_goes_on_in_the_next_run() {
    let (hub, cache) = (hub_with_model(), tempfile::tempdir().unwrap());
    hub.state().cuts = 1000;
    hub.state().cut_from = 2 * CHUNK;
    let options = options(&hub, cache.path());
    let error = fetch_model(&id("owner/tiny"), &options, &Silent).unwrap_err();
    let HubError::Cut {
        file,
        received,
        size,
        ..
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!(
        (file.as_str(), *received),
        ("model.safetensors", 2 * CHUNK as u64)
    );
    assert_eq!(*size, weights().len() as u64);
    assert_eq!(
        error.hint().unwrap(),
        "run again: it continues where it stopped"
    );

    // Nothing half done is taken for a model.
    let offline = FetchOptions {
        offline: true,
        ..options.clone()
    };
    assert!(matches!(
        fetch_model(&id("owner/tiny"), &offline, &Silent),
        Err(HubError::OfflineMiss { .. })
    ));

    hub.state().cuts = 0;
    hub.state().served.clear();
    let snapshot = fetch_model(&id("owner/tiny"), &options, &Silent).unwrap();
    assert_eq!(
        fs_err::read(snapshot.folder.join("model.safetensors")).unwrap(),
        weights()
    );
    assert_eq!(
        hub.state().served[0],
        format!("model.safetensors {}", 2 * CHUNK)
    );
}

#[test]
fn a_server_without_ranges_is_put_up_with() {
    let (hub, cache) = (hub_with_model(), tempfile::tempdir().unwrap());
    hub.state().ignores_ranges = true;
    let snapshot = fetch_model(&id("owner/tiny"), &options(&hub, cache.path()), &Silent).unwrap();
    assert_eq!(
        fs_err::read(snapshot.folder.join("model.safetensors")).unwrap(),
        weights()
    );
}

#[test]
fn wrong_bytes_are_found_and_not_kept() {
    let (hub, cache) = (hub_with_model(), tempfile::tempdir().unwrap());
    hub.state().corrupts = true;
    let options = options(&hub, cache.path());
    let error = fetch_model(&id("owner/tiny"), &options, &Silent).unwrap_err();
    let HubError::Corrupt { file, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(file, "model.safetensors");
    hub.state().corrupts = false;
    let snapshot = fetch_model(&id("owner/tiny"), &options, &Silent).unwrap();
    assert_eq!(
        fs_err::read(snapshot.folder.join("model.safetensors")).unwrap(),
        weights()
    );
}

#[test]
fn tokens_are_asked_for_and_sent() {
    let (hub, cache) = (hub_with_model(), tempfile::tempdir().unwrap());
    hub.state().token = Some("secret".to_owned());
    let wrong = FetchOptions {
        token: Some("wrong".to_owned()),
        ..options(&hub, cache.path())
    };
    let error = fetch_model(&id("owner/tiny"), &wrong, &Silent).unwrap_err();
    assert!(
        matches!(
            &error,
            HubError::Denied {
                status: 401,
                token_given: true,
                ..
            }
        ),
        "{error}"
    );
    let right = FetchOptions {
        token: Some("secret".to_owned()),
        ..wrong
    };
    fetch_model(&id("owner/tiny"), &right, &Silent).unwrap();
}

#[test]
fn refusals_say_what_to_do() {
    let (hub, cache) = (hub_with_model(), tempfile::tempdir().unwrap());
    let options = options(&hub, cache.path());
    let refused = |status, code| {
        hub.state().refusal = Some((status, code));
        fetch_model(&id("owner/tiny"), &options, &Silent).unwrap_err()
    };
    let gated = refused(403, "GatedRepo");
    assert!(
        matches!(
            &gated,
            HubError::Denied {
                status: 403,
                gated: true,
                ..
            }
        ),
        "{gated}"
    );
    assert!(gated.hint().unwrap().starts_with("ask for access"));
    let private = refused(401, "RepoNotFound");
    assert!(matches!(private, HubError::RepoNotFound { .. }));
    let down = refused(503, "");
    assert!(matches!(down, HubError::Server { status: 503, .. }));
    let busy = refused(429, "");
    assert!(matches!(busy, HubError::RateLimited { .. }));
}

#[test]
fn what_is_missing_is_named() {
    let (hub, cache) = (hub_with_model(), tempfile::tempdir().unwrap());
    let options = options(&hub, cache.path());
    let error = |text: &str| {
        fetch_model(&id(text), &options, &Silent)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(error("owner/none"), "the Hub has no model `owner/none`");
    assert_eq!(error("owner/tiny@v9"), "`owner/tiny` has no revision `v9`");
    hub.add("models/owner/empty", "README.md", "");
    assert_eq!(
        error("owner/empty"),
        "`owner/empty` has no file `config.json`"
    );
    hub.add("models/owner/flow", "config.json", "{}");
    hub.add("models/owner/flow", "tf_model.h5", "x");
    assert_eq!(
        error("owner/flow"),
        "`owner/flow` has neither `model.safetensors` nor `pytorch_model.bin`, and no index of shards of either, \
         only `tf_model.h5`"
    );
}

#[test]
fn offline_finds_what_was_fetched_and_nothing_else() {
    let (hub, cache) = (hub_with_model(), tempfile::tempdir().unwrap());
    let online = options(&hub, cache.path());
    let offline = FetchOptions {
        offline: true,
        ..online.clone()
    };
    let error = fetch_model(&id("owner/tiny"), &offline, &Silent).unwrap_err();
    assert!(
        error.to_string().ends_with("revision `main` is missing"),
        "{error}"
    );
    assert!(error.hint().is_some());
    let snapshot = fetch_model(&id("owner/tiny"), &online, &Silent).unwrap();
    drop(hub);
    assert_eq!(
        fetch_model(&id("owner/tiny"), &offline, &Silent).unwrap(),
        snapshot
    );
    let by_commit = id("owner/tiny").at(COMMIT).unwrap();
    assert_eq!(
        fetch_model(&by_commit, &offline, &Silent).unwrap(),
        snapshot
    );
    assert!(fetch_model(&id("owner/tiny@v1"), &offline, &Silent).is_err());

    // The Hub is gone: the error knows that the cache would do.
    let error = fetch_model(&id("owner/tiny"), &online, &Silent).unwrap_err();
    assert!(
        matches!(error, HubError::Unreachable { cached: true, .. }),
        "{error:?}"
    );
    let other = fetch_model(&id("owner/other"), &online, &Silent).unwrap_err();
    assert!(
        matches!(other, HubError::Unreachable { cached: false, .. }),
        "{other:?}"
    );
}

#[test]
fn data_files_are_fetched_once_and_read_as_local_ones() {
    let (hub, cache) = (FakeHub::start(), tempfile::tempdir().unwrap());
    hub.add(
        "datasets/owner/corpus",
        "data/dev.tsv",
        "label\tsentence\n1\ta cat\n",
    );
    let online = options(&hub, cache.path());
    let read = |spec: &str, hub: &FetchOptions| {
        let mut request = Request {
            samples: 1,
            sequence_length: 8,
            seed: 0,
            sampler: &mut NoSampler,
            hub,
            progress: &Silent,
            remarks: Vec::new(),
        };
        load(
            &DataSpec::parse(spec, Path::new(".")).unwrap(),
            &mut request,
        )
    };
    let Content::Table(table) = read("hub:owner/corpus/data/dev.tsv#sentence", &online).unwrap()
    else {
        panic!("a table")
    };
    assert!(table.texts().unwrap().texts().eq(["a cat"]));
    let error = read("hub:owner/corpus/data/dev.csv", &online).unwrap_err();
    assert_eq!(error.hint().unwrap(), "closest name is `data/dev.tsv`");

    let offline = FetchOptions {
        offline: true,
        ..online
    };
    let (corpus, kind) = (id("owner/corpus"), RepoType::Dataset);
    assert!(fetch_file(&corpus, kind, "data/dev.tsv", &offline, &Silent).is_ok());
    let error = fetch_file(&corpus, kind, "data/test.tsv", &offline, &Silent).unwrap_err();
    assert!(matches!(error, HubError::OfflineMiss { .. }));
}
