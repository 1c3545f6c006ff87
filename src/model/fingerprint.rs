//! What tells one checkpoint from another without reading all of it.

use super::OpenModel;

/// Bytes looked at, at the start, in the middle and at the end of each tensor.
const SAMPLE_BYTES: usize = 4096;

impl OpenModel {
    /// A hash of the configuration, of the names, types and shapes of all tensors and of samples of their bytes,
    /// hexadecimal: the same wherever the model lies and however its files are split.
    pub(crate) fn fingerprint(&self) -> String {
        let mut hasher = blake3::Hasher::new_derive_key("quench model fingerprint version 1");
        let mut part = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        part(self.checkpoint.config().to_string().as_bytes());
        if let Some(rewrite) = self.rewrite_key() {
            part(rewrite.as_bytes());
        }
        let folder = self.checkpoint.tensors();
        let mut names: Vec<&str> = folder.names().collect();
        names.sort_unstable();
        for name in names {
            let Some(info) = folder.info(name) else {
                continue;
            };
            part(format!("{name} {:?} {:?}", info.dtype, info.shape).as_bytes());
            // A tensor that cannot be read is reported by whoever needs it.
            let Ok(bytes) = folder.bytes(name) else {
                continue;
            };
            let last = bytes.len().saturating_sub(SAMPLE_BYTES);
            for start in [0, last / 2, last] {
                part(&bytes[start..(start + SAMPLE_BYTES).min(bytes.len())]);
            }
            drop(bytes);
            folder.release(name);
        }
        hasher.finalize().to_hex()[..32].to_owned()
    }
}
