//! Tokenizers read from every kind of file give the ids that transformers (or tiktoken) gives, on 2,000 texts.
//!
//! The fixtures are made by `tests/golden/make_tokenizers.py`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on may stop")]

use calib::tokenizer::Tokenizer;
use safetensors::SafeTensors;
use serde_json::{Map, Value};
use std::fmt::Write;
use std::path::{Path, PathBuf};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tokenizers")
}

fn json(name: &str) -> Value {
    serde_json::from_slice(&fs_err::read(fixtures().join(name)).unwrap()).unwrap()
}

/// The folder of one tokenizer.
fn folder(entry: &Value) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let map = |key: &str| entry[key].as_object().cloned().unwrap_or_else(Map::new);
    for (name, parts) in map("files") {
        let parts = parts
            .as_array()
            .unwrap()
            .iter()
            .map(|part| part.as_str().unwrap());
        let bytes: Vec<u8> = parts
            .flat_map(|part| fs_err::read(fixtures().join(part)).unwrap())
            .collect();
        fs_err::write(folder.path().join(name), bytes).unwrap();
    }
    for (name, value) in map("json") {
        fs_err::write(folder.path().join(name), value.to_string()).unwrap();
    }
    folder
}

/// FNV-1a over the little-endian bytes of each number.
fn fnv(numbers: impl IntoIterator<Item = u32>) -> u64 {
    let bytes = numbers.into_iter().flat_map(u32::to_le_bytes);
    bytes.fold(0xcbf2_9ce4_8422_2325, |state, byte| {
        (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[test]
fn ids_are_those_of_transformers_on_two_thousand_texts() {
    let texts: Vec<String> = serde_json::from_value(json("texts.json")).unwrap();
    assert_eq!(texts.len(), 2000);
    let bytes = fs_err::read(fixtures().join("ids.safetensors")).unwrap();
    let hashes = SafeTensors::deserialize(&bytes).unwrap();
    let mut told = String::new();
    let tokenizers = json("tokenizers.json");
    for (name, entry) in tokenizers.as_object().unwrap() {
        let folder = folder(entry);
        let tokenizer = Tokenizer::from_folder(folder.path()).unwrap_or_else(|error| {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            panic!("{name}: {error}: {cause:?}")
        });
        let ids: Vec<Vec<u32>> = texts
            .iter()
            .map(|text| tokenizer.encode_special(text, None).unwrap())
            .collect();
        let found: Vec<u64> = ids.iter().map(|ids| fnv(ids.iter().copied())).collect();
        let expected = hashes.tensor(name).unwrap();
        let expected = expected
            .data()
            .chunks(2)
            .map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
        let wrong: Vec<usize> = expected
            .zip(&found)
            .enumerate()
            .filter(|(_, (expected, found))| u64::from(*expected) != *found & 0xffff)
            .map(|(at, _)| at)
            .collect();
        for &at in wrong.iter().take(4) {
            writeln!(told, "{name}: text {at} {:?}: {:?}", texts[at], ids[at]).unwrap();
        }
        if !wrong.is_empty() {
            writeln!(told, "{name}: {} texts of 2,000 differ", wrong.len()).unwrap();
            continue;
        }
        let halves = found
            .iter()
            .flat_map(|&hash| [(hash & 0xffff_ffff) as u32, (hash >> 32) as u32]);
        let whole = hashes.tensor(&format!("{name}.all")).unwrap();
        assert_eq!(
            whole.data(),
            fnv(halves).to_le_bytes(),
            "{name}: one text differs in a way 16 bits do not show"
        );
    }
    assert!(told.is_empty(), "{told}");
}
