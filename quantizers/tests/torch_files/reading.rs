//! What is read: both layouts, every type, views, tied weights, state dicts one level down.

use crate::archive::{Entry, entries, legacy, zip, zip_with};
use crate::open;
use crate::pickle::{PLAIN, Pickle, View, six, state_dict};
use quantizers::formats::{FormatError, TensorFolder};
use std::path::{Path, PathBuf};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/torch")
}

fn same(found: &TensorFolder, expected: &TensorFolder) {
    let names = |folder: &TensorFolder| folder.names().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(names(found), names(expected));
    for (name, info) in expected.tensors() {
        let other = found.info(name).unwrap();
        assert_eq!(
            (other.dtype, &other.shape),
            (info.dtype, &info.shape),
            "{name}"
        );
        assert_eq!(other.bytes, info.bytes, "{name}");
        let bytes = found.bytes(name).unwrap();
        assert_eq!(bytes, expected.bytes(name).unwrap(), "{name}");
        found.release(name);
        assert_eq!(found.bytes(name).unwrap(), bytes, "{name}");
    }
}

#[test]
fn files_of_torch_hold_the_tensors_of_their_safetensors_twin() {
    let expected = TensorFolder::open(fixtures().join("expected.safetensors")).unwrap();
    for file in ["zip.bin", "legacy.bin", "protocol5.bin", "nested.bin"] {
        same(
            &TensorFolder::open(fixtures().join(file)).unwrap(),
            &expected,
        );
    }
    let expected = TensorFolder::open(fixtures().join("typed.safetensors")).unwrap();
    same(
        &TensorFolder::open(fixtures().join("typed.bin")).unwrap(),
        &expected,
    );
}

#[test]
fn a_tied_weight_has_two_names_for_one_place() {
    let folder = TensorFolder::open(fixtures().join("zip.bin")).unwrap();
    let info = |name: &str| folder.info(name).unwrap();
    assert!(info("head.weight").is_same_place(info("embedding.weight")));
    assert!(!info("transposed").is_same_place(info("columns")));
    assert!(!info("empty").is_same_place(info("empty")));
}

#[test]
fn contiguous_tensors_stay_in_the_file_and_others_are_gathered() {
    use std::borrow::Cow;
    let folder = TensorFolder::open(fixtures().join("zip.bin")).unwrap();
    for (name, borrowed) in [
        ("embedding.weight", true),
        ("rows", true),
        ("one", true),
        ("transposed", false),
        ("columns", false),
        ("steps", false),
        ("permuted", false),
    ] {
        let bytes = folder.bytes(name).unwrap();
        assert_eq!(matches!(bytes, Cow::Borrowed(_)), borrowed, "{name}");
    }
}

#[test]
fn doubles_are_read_as_f32() {
    let folder = TensorFolder::open(fixtures().join("legacy.bin")).unwrap();
    let doubles = folder.bytes("torch.float64").unwrap();
    let doubles = doubles.as_chunks::<8>().0.iter();
    #[expect(clippy::cast_possible_truncation, reason = "rounds, as meant")]
    let expected: Vec<f32> = doubles.map(|d| f64::from_le_bytes(*d) as f32).collect();
    assert_eq!(folder.floats("torch.float64").unwrap(), expected);
}

#[test]
fn files_built_by_hand_are_read() {
    let pickle = state_dict(&PLAIN);
    for file in [zip(&pickle, &[("0", &six())]), legacy_of(&pickle)] {
        let folder = open(&file).unwrap();
        assert_eq!(
            folder.floats("weight").unwrap().as_ref(),
            [0., 1., 2., 3., 4., 5.]
        );
    }
}

fn legacy_of(pickle: &[u8]) -> Vec<u8> {
    legacy(pickle, &[("0", 6, &six())])
}

#[test]
fn sizes_of_64_bits_in_the_zip_directory_are_read() {
    let mut all = entries(&state_dict(&PLAIN), &[("0", &six())]);
    for entry in &mut all {
        entry.wide = true;
    }
    let folder = open(&zip_with(&all, |_| ())).unwrap();
    assert_eq!(folder.floats("weight").unwrap()[4..], [4., 5.]);
}

#[test]
fn entries_without_tensors_and_other_files_of_the_archive_do_no_harm() {
    let pickle = Pickle::new()
        .raw(b"}(")
        .text("epoch")
        .int(3)
        .text("weight")
        .tensor(&PLAIN)
        .text("note")
        .text("text")
        .raw(b"u")
        .stop();
    let mut all = entries(&pickle, &[("0", &six())]);
    all.push(Entry::new("version", b"3\n"));
    let folder = open(&zip_with(&all, |_| ())).unwrap();
    assert_eq!(folder.names().collect::<Vec<_>>(), ["weight"]);
}

#[test]
fn dictionaries_of_python_2_are_read() {
    // OrderedDict([["weight", tensor]]), with a short byte string as the name.
    let pickle = Pickle::new()
        .global("collections", "OrderedDict")
        .raw(b"]](U\x06weight")
        .tensor(&PLAIN)
        .raw(b"ea\x85R")
        .stop();
    assert_eq!(
        open(&legacy_of(&pickle))
            .unwrap()
            .names()
            .collect::<Vec<_>>(),
        ["weight"]
    );
}

#[test]
fn safetensors_go_before_a_bin_file() {
    let dir = tempfile::tempdir().unwrap();
    fs_err::write(dir.path().join("pytorch_model.bin"), "not read").unwrap();
    let twin = fixtures().join("expected.safetensors");
    fs_err::copy(twin, dir.path().join("model.safetensors")).unwrap();
    TensorFolder::open(dir.path()).unwrap();
}

#[test]
fn shards_of_bin_files_follow_their_index() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &[u8]| fs_err::write(dir.path().join(name), content).unwrap();
    let named = |name: &str| {
        let pickle = Pickle::new().raw(b"}").text(name).tensor(&PLAIN).raw(b"s");
        pickle.stop()
    };
    write(
        "pytorch_model-00001-of-00002.bin",
        &zip(&named("a"), &[("0", &six())]),
    );
    write("pytorch_model-00002-of-00002.bin", &legacy_of(&named("b")));
    let index = |b: &str| {
        let text = format!(
            "{{\"weight_map\":{{\"a\":\"pytorch_model-00001-of-00002.bin\",\"b\":\"{b}\"}}}}"
        );
        write("pytorch_model.bin.index.json", text.as_bytes());
    };
    index("pytorch_model-00002-of-00002.bin");
    let folder = TensorFolder::open(dir.path()).unwrap();
    assert_eq!(folder.names().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(folder.floats("b").unwrap()[4..], [4., 5.]);
    index("pytorch_model-00001-of-00002.bin");
    let error = TensorFolder::open(dir.path()).unwrap_err();
    assert!(matches!(error, FormatError::ShardContent { .. }), "{error}");
}

#[test]
fn a_view_into_a_larger_storage_is_read() {
    let view = View {
        offset: 2,
        shape: &[2, 2],
        strides: &[1, 2],
        ..PLAIN
    };
    let folder = open(&zip(&state_dict(&view), &[("0", &six())])).unwrap();
    assert_eq!(folder.floats("weight").unwrap().as_ref(), [2., 4., 3., 5.]);
}

/// `python -c "save_file({name: tensor.contiguous().clone() ...}, 'x.safetensors')"` beside every `x.bin`.
#[test]
#[ignore = "needs downloaded checkpoints: QUENCH_TORCH_TWINS names a folder of `.bin` files with safetensors twins"]
fn real_checkpoints_hold_the_tensors_that_torch_loads_by_hand() {
    let folder = PathBuf::from(std::env::var_os("QUENCH_TORCH_TWINS").unwrap());
    let mut compared = 0;
    for entry in fs_err::read_dir(folder).unwrap() {
        let file = entry.unwrap().path();
        if file.extension().is_some_and(|ending| ending == "bin") {
            let twin = TensorFolder::open(file.with_extension("safetensors")).unwrap();
            same(&TensorFolder::open(&file).unwrap(), &twin);
            compared += 1;
        }
    }
    assert!(compared > 0);
}
