//! Heads that lie about what follows: refused with words, without a panic and without memory for what is not there.

use super::{Head, file, fixtures, text};
use quantizers::formats::{ArtifactReader, TensorFolder, gguf};
use rand::{RngExt, SeedableRng};

fn refusal(bytes: &[u8]) -> String {
    let (_dir, path) = file(bytes);
    TensorFolder::open(path).unwrap_err().to_string()
}

#[test]
fn counts_and_lengths_beyond_the_file_are_refused() {
    let sound = Head::model("llama").bytes();
    let with = |at: usize, bytes: &[u8]| {
        let mut damaged = sound.clone();
        damaged[at..at + bytes.len()].copy_from_slice(bytes);
        damaged
    };
    let huge = u64::MAX.to_le_bytes();
    for (bytes, expected) in [
        (with(0, b"GGML"), "does not begin with `GGUF`"),
        (with(4, &1_u32.to_le_bytes()), "version 2 or 3, found 1"),
        (with(4, &3_u32.to_be_bytes()), "big-endian"),
        (with(8, &huge), "tensors do not fit"),
        (with(16, &huge), "keys do not fit"),
        (with(24, &huge), "bytes of text do not fit"),
        (b"GGUF".to_vec(), "it ends within"),
        (Vec::new(), "it ends within"),
    ] {
        let found = refusal(&bytes);
        assert!(found.contains(expected), "{expected}: {found}");
    }
}

#[test]
fn values_that_promise_too_much_are_refused() {
    let array = |kind: u32, count: u64| [&kind.to_le_bytes()[..], &count.to_le_bytes()].concat();
    let nested = (0..6).fold(Vec::new(), |inner, _| [array(9, 1), inner].concat());
    for (kind, bytes, expected) in [
        (
            8,
            u64::MAX.to_le_bytes().to_vec(),
            "bytes of text do not fit",
        ),
        (9, array(0, u64::MAX), "elements do not fit"),
        (9, array(8, 1 << 40), "elements do not fit"),
        (9, array(10, 1 << 61), "elements do not fit"),
        (9, array(77, 0), "type of element"),
        (9, nested, "nested more than"),
        (13, vec![0; 8], "type of value"),
    ] {
        let found = refusal(&Head::default().value("k", kind, &bytes).bytes());
        assert!(
            found.contains("`k`: ") && found.contains(expected),
            "{expected}: {found}"
        );
    }
    let twice = Head::default().number("k", 1).number("k", 2);
    assert!(refusal(&twice.bytes()).contains("twice"));
    let uneven = Head::default().number("general.alignment", 24);
    assert!(refusal(&uneven.bytes()).contains("a power of two"));
    let zero = Head::default().number("general.alignment", 0);
    assert!(refusal(&zero.bytes()).contains("a power of two"));
}

#[test]
fn tensors_outside_the_file_are_refused() {
    let head = Head::default();
    for (head, expected) in [
        (
            head.clone().tensor("t", &[4, 1 << 40], 0, 0),
            "past the end",
        ),
        (
            head.clone().tensor("t", &[1 << 62, 1 << 62], 0, 0),
            "beyond any file",
        ),
        (
            head.clone().tensor("t", &[u64::MAX], 0, 0),
            "beyond any file",
        ),
        (
            head.clone().tensor("t", &[4], 0, u64::MAX - 31),
            "past the end",
        ),
        (head.clone().tensor("t", &[4], 0, 7), "no multiple of 32"),
        (head.clone().tensor("t", &[4], 0, 1 << 30), "past the end"),
        (
            head.clone().tensor("t", &[31], 2, 0),
            "no whole blocks of q4_0",
        ),
        (
            head.clone().tensor("t", &[1; 9], 0, 0),
            "at most 8 dimensions",
        ),
        (
            head.clone().tensor("t", &[4], 36, 0),
            "expected one of f32, f16",
        ),
        (
            head.clone()
                .floats("t", &[1], &[0.0])
                .floats("t", &[1], &[0.0]),
            "twice",
        ),
    ] {
        let found = refusal(&head.bytes());
        assert!(
            found.contains("tensor `t`") && found.contains(expected),
            "{expected}: {found}"
        );
    }
    let mut name = Head::default().tensor("t", &[1], 0, 0);
    name.tensors[0][8] = 0xff;
    assert!(refusal(&name.bytes()).contains("no UTF-8"));
}

#[test]
fn tokenizers_that_contradict_themselves_are_refused() {
    let strings = |all: &[&str]| {
        let mut bytes = [&8_u32.to_le_bytes()[..], &(all.len() as u64).to_le_bytes()].concat();
        for one in all {
            bytes.extend(text(one));
        }
        bytes
    };
    let base = Head::model("llama").value("tokenizer.ggml.tokens", 9, &strings(&["a", "b", "ab"]));
    let floats = [&6_u32.to_le_bytes()[..], &1_u64.to_le_bytes(), &[0; 4]].concat();
    let kinds = [&5_u32.to_le_bytes()[..], &1_u64.to_le_bytes(), &[0; 4]].concat();
    let bpe = base.clone().text("tokenizer.ggml.model", "gpt2");
    for (head, expected) in [
        (
            base.clone().text("tokenizer.ggml.model", "rwkv"),
            "expected gpt2 or llama",
        ),
        (
            base.clone().text("tokenizer.ggml.model", "llama"),
            "no `tokenizer.ggml.scores`",
        ),
        (
            base.clone().text("tokenizer.ggml.model", "llama").value(
                "tokenizer.ggml.scores",
                9,
                &floats,
            ),
            "expected 3 entries, found 1",
        ),
        (
            bpe.clone().value("tokenizer.ggml.token_type", 9, &kinds),
            "expected 3 entries, found 1",
        ),
        (bpe.clone(), "no `tokenizer.ggml.merges`"),
        (
            bpe.clone()
                .value("tokenizer.ggml.merges", 9, &strings(&["ab"])),
            "expected two parts",
        ),
        (bpe.text("tokenizer.ggml.pre", "later"), "found `later`"),
        (
            Head::model("llama").text("tokenizer.ggml.model", "gpt2"),
            "no `tokenizer.ggml.tokens`",
        ),
    ] {
        let (_dir, path) = file(&head.bytes());
        let folder = TensorFolder::open(path).unwrap();
        let found = gguf::side_files(&folder).unwrap_err().to_string();
        assert!(found.contains(expected), "{expected}: {found}");
    }
}

#[test]
fn no_change_of_a_head_makes_it_panic() {
    let sound = fs_err::read(fixtures().join("types.gguf")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.gguf");
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(7);
    let open = |bytes: &[u8]| {
        fs_err::write(&path, bytes).unwrap();
        if let Ok(reader) = ArtifactReader::open(&path) {
            for name in reader.decoded().keys() {
                drop(reader.values(name));
            }
            drop(gguf::side_files(reader.folder()));
        }
    };
    for length in (0..2048).step_by(7) {
        open(&sound[..length]);
    }
    for _ in 0..1500 {
        let mut damaged = sound.clone();
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(0..2048);
            damaged[at] = random.random();
        }
        open(&damaged);
    }
}
