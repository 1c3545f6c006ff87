//! A fingerprint of a quantized matrix, to compare what was made with what was read back.

use super::storage::{FloatType, Granularity};

/// BLAKE3 of everything a value consists of.
pub type Digest = [u8; 32];

/// Parts with their names and lengths, so that no two lists of parts look alike.
pub(super) struct Parts(blake3::Hasher);

impl Parts {
    pub(super) fn new() -> Self {
        Self(blake3::Hasher::new())
    }

    pub(super) fn add(&mut self, name: &str, bytes: &[u8]) {
        self.0
            .update(name.as_bytes())
            .update(&(bytes.len() as u64).to_le_bytes())
            .update(bytes);
    }

    pub(super) fn sizes(&mut self, name: &str, sizes: &[usize]) {
        let bytes: Vec<u8> = sizes
            .iter()
            .flat_map(|size| (*size as u64).to_le_bytes())
            .collect();
        self.add(name, &bytes);
    }

    pub(super) fn granularity(&mut self, granularity: Granularity) {
        let sizes = match granularity {
            Granularity::Tensor => [0, 0],
            Granularity::Channel => [1, 0],
            Granularity::Group(size) => [2, size],
        };
        self.sizes("granularity", &sizes);
    }

    pub(super) fn float_type(&mut self, float_type: FloatType) {
        let number = match float_type {
            FloatType::F32 => 0,
            FloatType::F16 => 1,
            FloatType::Bf16 => 2,
        };
        self.add("float type", &[number]);
    }

    pub(super) fn finish(&self) -> Digest {
        *self.0.finalize().as_bytes()
    }
}
