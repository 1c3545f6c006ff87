//! Proof that a folder holds what was quantized: open it again, decode, compare.

use super::{ArtifactReader, Dtype, FormatError};
use crate::tensor::{Digest, QuantizedTensor};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Fingerprints of everything that was handed to a writer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Expected {
    /// Quantized layers, as they were in memory.
    layers: BTreeMap<String, Digest>,
    /// Every stored tensor: type, shape and bytes.
    tensors: BTreeMap<String, Digest>,
    /// Other files, relative to the folder.
    files: BTreeMap<PathBuf, Digest>,
}

/// What was compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// Layers decoded.
    pub layers: usize,
    /// Tensors read.
    pub tensors: usize,
}

impl Expected {
    /// Remembers a quantized layer.
    pub(super) fn layer(&mut self, name: &str, tensor: &QuantizedTensor) {
        self.layers.insert(name.to_owned(), tensor.digest());
    }

    /// Remembers a stored tensor.
    pub(super) fn tensor(&mut self, name: &str, dtype: Dtype, shape: &[usize], bytes: &[u8]) {
        self.tensors
            .insert(name.to_owned(), digest(dtype, shape, bytes));
    }

    /// Remembers a file besides weights and configuration.
    pub(super) fn file(&mut self, path: &Path, content: &[u8]) {
        let digest = *blake3::hash(content).as_bytes();
        self.files.insert(path.to_path_buf(), digest);
    }
}

/// Opens `dir` anew, decodes every layer and reads every tensor and every other file, one at a time,
/// and compares them with what the writer was given.
///
/// # Errors
/// A folder that does not open; the first layer or tensor that is missing, superfluous or different.
pub fn verify(dir: impl AsRef<Path>, expected: &Expected) -> Result<Verified, FormatError> {
    let dir = dir.as_ref();
    let reader = ArtifactReader::open(dir)?;
    let mismatch = |name: &str, difference| {
        Err(FormatError::Mismatch {
            dir: dir.to_path_buf(),
            name: name.to_owned(),
            difference,
        })
    };
    for name in reader.folder().names() {
        let Some(digest_made) = expected.tensors.get(name) else {
            return mismatch(name, "was not written");
        };
        let (dtype, shape, bytes) = reader.raw(name)?;
        if digest(dtype, shape, &bytes) != *digest_made {
            return mismatch(name, "is not what was written");
        }
        reader.folder().release(name);
    }
    if let Some(name) = expected
        .tensors
        .keys()
        .find(|name| reader.folder().info(name).is_none())
    {
        return mismatch(name, "is missing");
    }
    if let Some(name) = reader
        .layers()
        .keys()
        .find(|name| !expected.layers.contains_key(*name))
    {
        return mismatch(name, "was not quantized");
    }
    for (name, digest_made) in &expected.layers {
        if !reader.layers().contains_key(name) {
            return mismatch(name, "is not listed as quantized");
        }
        if reader.layer(name)?.digest() != *digest_made {
            return mismatch(name, "does not decode to what was quantized");
        }
    }
    for (path, digest_made) in &expected.files {
        let file = dir.join(path);
        let content =
            fs_err::read(&file).map_err(|source| FormatError::io("read", &file, source))?;
        if blake3::hash(&content).as_bytes() != digest_made {
            return mismatch(&path.display().to_string(), "is not what was written");
        }
    }
    Ok(Verified {
        layers: expected.layers.len(),
        tensors: expected.tensors.len(),
    })
}

fn digest(dtype: Dtype, shape: &[usize], bytes: &[u8]) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(format!("{dtype:?} {shape:?} ").as_bytes());
    *hasher.update(bytes).finalize().as_bytes()
}
