//! A quantized matrix: its dense part in one of the encodings, and what is added to it.

use super::codebook::Codebook;
use super::digest::{Digest, Parts};
use super::encoding::Dense;
use super::invalid::InvalidTensor;
use super::scheme::{SHAPE_BITS, Scheme};
use super::sparse::{self, Csr};
use super::trellis::Trellis;
use super::uniform::Uniform;
use rayon::prelude::*;

/// The representation of the dense part.
#[derive(Debug, Clone, PartialEq)]
pub enum Encoding {
    /// Uniform grid.
    Uniform(Uniform),
    /// Lookup table.
    Codebook(Codebook),
    /// Streams of a trellis code.
    Trellis(Trellis),
}

impl Encoding {
    /// The one place that lists the encodings.
    fn dense(&self) -> &dyn Dense {
        match self {
            Self::Uniform(uniform) => uniform,
            Self::Codebook(codebook) => codebook,
            Self::Trellis(trellis) => trellis,
        }
    }
}

/// A quantized `[rows, cols]` matrix, row = output channel.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantizedTensor {
    /// Output channels.
    pub rows: usize,
    /// Inputs.
    pub cols: usize,
    /// Dense part.
    pub encoding: Encoding,
    /// Sparse part, added to the dense one.
    pub outliers: Option<Csr>,
}

impl QuantizedTensor {
    /// Checks lengths, code ranges, group sizes and the sparse part.
    ///
    /// # Errors
    /// The first part that does not belong.
    pub fn check(&self) -> Result<(), InvalidTensor> {
        self.encoding.dense().check(self.rows, self.cols)?;
        match &self.outliers {
            Some(outliers) => outliers.check(self.rows, self.cols),
            None => Ok(()),
        }
    }

    /// Bits a file holds for this matrix.
    pub fn storage_bits(&self) -> u64 {
        let (rows, cols) = (self.rows, self.cols);
        let sparse = self.outliers.as_ref().map_or(0, |outliers| {
            sparse::storage_bits(rows, cols, outliers.values.len())
        });
        self.encoding.dense().storage_bits(rows, cols) + sparse + SHAPE_BITS
    }

    /// [`Self::storage_bits`] per weight.
    pub fn bits_per_weight(&self) -> f64 {
        self.storage_bits() as f64 / (self.rows * self.cols) as f64
    }

    /// The weights, `[rows, cols]`.
    ///
    /// # Panics
    /// When [`Self::check`] would fail.
    pub fn dequantize(&self) -> Vec<f32> {
        let mut weights = vec![0.0; self.rows * self.cols];
        self.dequantize_into(&mut weights);
        weights
    }

    /// Writes the weights to `out`, `[rows, cols]`; sparse values are added in f32.
    ///
    /// # Panics
    /// When `out` has another length, or [`Self::check`] would fail.
    pub fn dequantize_into(&self, out: &mut [f32]) {
        assert_eq!(out.len(), self.rows * self.cols, "one value per weight");
        if out.is_empty() {
            return;
        }
        let dense = self.encoding.dense();
        let (shape, band) = ((self.rows, self.cols), dense.band(self.rows));
        out.par_chunks_mut(band * self.cols)
            .enumerate()
            .for_each(|(at, out)| {
                let first = at * band;
                dense.decode_band(first, shape, out);
                for (row, out) in out.chunks_exact_mut(self.cols).enumerate() {
                    if let Some(outliers) = &self.outliers {
                        outliers.add_row(first + row, out);
                    }
                }
            });
    }

    /// Equal for equal matrices: shape, codes, scales, tables and the sparse part, bit for bit.
    pub fn digest(&self) -> Digest {
        let mut parts = Parts::new();
        parts.sizes("shape", &[self.rows, self.cols]);
        self.encoding.dense().add_to(&mut parts);
        if let Some(outliers) = &self.outliers {
            outliers.add_to(&mut parts);
        }
        parts.finish()
    }

    /// Whether it is what `scheme` announces.
    pub fn matches(&self, scheme: &Scheme) -> bool {
        self.encoding.dense().matches(scheme) && self.outliers.is_some() == scheme.outliers
    }
}
