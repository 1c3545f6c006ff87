//! A function of one byte as its 256 values.

/// `table[code]` for all 256 codes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[repr(align(64))]
pub struct ByteTable([u8; 256]);

impl ByteTable {
    /// The function whose value at `code` is `values[code]`.
    pub fn new(values: [u8; 256]) -> Self {
        Self(values)
    }

    /// The value at every code.
    pub fn values(&self) -> &[u8; 256] {
        &self.0
    }

    /// Replaces every code by its value: four registers hold the table where the processor
    /// permutes bytes (AVX-512 VBMI).
    pub fn map(&self, codes: &mut [u8]) {
        #[cfg(target_arch = "x86_64")]
        if super::avx512::permutes_bytes() {
            super::avx512::map_bytes(&self.0, codes);
            return;
        }
        self.map_scalar(codes);
    }

    /// [`map`](Self::map) on any processor.
    pub(super) fn map_scalar(&self, codes: &mut [u8]) {
        for code in codes {
            *code = self.0[usize::from(*code)];
        }
    }
}
