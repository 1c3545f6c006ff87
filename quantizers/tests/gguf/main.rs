//! GGUF files: every type decodes to the values the `gguf` package gives it (`tests/golden/make_gguf_sources.py`), and
//! what is damaged or hostile is refused.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot read its fixtures has to stop"
)]

mod hostile;
mod models;
mod types;

use std::path::{Path, PathBuf};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// A file put together by hand.
#[derive(Clone, Default)]
struct Head {
    values: Vec<Vec<u8>>,
    tensors: Vec<Vec<u8>>,
    data: Vec<u8>,
}

fn text(text: &str) -> Vec<u8> {
    let length = (text.len() as u64).to_le_bytes();
    length.into_iter().chain(text.bytes()).collect()
}

impl Head {
    /// A value of type `kind`.
    fn value(mut self, key: &str, kind: u32, bytes: &[u8]) -> Self {
        let entry = [text(key), kind.to_le_bytes().to_vec(), bytes.to_vec()];
        self.values.push(entry.concat());
        self
    }

    fn number(self, key: &str, number: u32) -> Self {
        self.value(key, 4, &number.to_le_bytes())
    }

    fn float(self, key: &str, number: f32) -> Self {
        self.value(key, 6, &number.to_le_bytes())
    }

    fn text(self, key: &str, value: &str) -> Self {
        self.value(key, 8, &text(value))
    }

    fn tensor(mut self, name: &str, sides: &[u64], kind: u32, offset: u64) -> Self {
        let mut entry = text(name);
        entry.extend(u32::try_from(sides.len()).unwrap().to_le_bytes());
        for side in sides {
            entry.extend(side.to_le_bytes());
        }
        entry.extend(kind.to_le_bytes());
        entry.extend(offset.to_le_bytes());
        self.tensors.push(entry);
        self
    }

    /// Adds a tensor of f32 with its values.
    fn floats(mut self, name: &str, sides: &[u64], values: &[f32]) -> Self {
        let offset = self.data.len() as u64;
        self.data
            .extend(values.iter().flat_map(|value| value.to_le_bytes()));
        self.data.resize(self.data.len().next_multiple_of(32), 0);
        self.tensor(name, sides, 0, offset)
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(3_u32.to_le_bytes());
        bytes.extend((self.tensors.len() as u64).to_le_bytes());
        bytes.extend((self.values.len() as u64).to_le_bytes());
        self.values
            .iter()
            .chain(&self.tensors)
            .for_each(|entry| bytes.extend(entry));
        bytes.resize(bytes.len().next_multiple_of(32), 0);
        bytes.extend(&self.data);
        bytes
    }

    /// A small model of `architecture` without blocks.
    fn model(architecture: &str) -> Self {
        let key = |name: &str| format!("{architecture}.{name}");
        Self::default()
            .text("general.architecture", architecture)
            .number(&key("context_length"), 128)
            .number(&key("embedding_length"), 64)
            .number(&key("block_count"), 1)
            .number(&key("feed_forward_length"), 96)
            .number(&key("attention.head_count"), 4)
            .number(&key("attention.head_count_kv"), 2)
            .float(&key("attention.layer_norm_rms_epsilon"), 1e-5)
            .floats("token_embd.weight", &[4, 3], &[0.5; 12])
    }
}

/// The path of a file with `bytes` in a folder of its own.
fn file(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.gguf");
    fs_err::write(&path, bytes).unwrap();
    (dir, path)
}
