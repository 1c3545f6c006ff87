//! True sizes: every bit that a file has to hold for a layer.
//!
//! Counted are packed codes with the padding of every row, scales, packed zero points, tables, row
//! scales, row pointers, columns and values of the sparse part, and `weight_shape`. What a format
//! writes for a layer is exactly this, which a test checks for every format.

use super::{Encoding, FloatType, Granularity, QuantizedTensor, Scheme, SchemeKind};
use crate::pack;

/// Bits of `weight_shape`, two 64-bit integers.
const SHAPE_BITS: u64 = 128;

impl QuantizedTensor {
    /// Bits a file holds for this matrix.
    pub fn storage_bits(&self) -> u64 {
        let (rows, cols) = (self.rows, self.cols);
        let dense = match &self.encoding {
            Encoding::Uniform(uniform) => {
                uniform_bits(
                    (rows, cols),
                    uniform.bits,
                    uniform.granularity,
                    uniform.scale_type,
                    uniform.zero_points.is_none(),
                ) + SHAPE_BITS
            }
            Encoding::Codebook(codebook) => {
                let scales = codebook.row_scales.as_ref().map_or(0, Vec::len);
                packed_bits(rows, cols, codebook.bits)
                    + 16 * (codebook.tables.len() + scales) as u64
                    + SHAPE_BITS
            }
            Encoding::Float { float_type, values } => float_type.bits() * values.len() as u64,
        };
        dense
            + self
                .outliers
                .as_ref()
                .map_or(0, |csr| sparse_bits(rows, cols, csr.values.len()))
    }

    /// [`Self::storage_bits`] per weight.
    pub fn bits_per_weight(&self) -> f64 {
        self.storage_bits() as f64 / (self.rows * self.cols) as f64
    }
}

impl Scheme {
    /// Bits a file will hold for a `[rows, cols]` layer, known before any weight is read.
    /// `scale_type` is how scales are stored, `outliers` the expected number of sparse values (0
    /// without a sparse part). Codebooks are counted with one table per row.
    pub fn storage_bits(
        &self,
        rows: usize,
        cols: usize,
        scale_type: FloatType,
        outliers: usize,
    ) -> u64 {
        let dense = match self.kind {
            SchemeKind::Uniform => uniform_bits(
                (rows, cols),
                self.bits,
                self.granularity,
                scale_type,
                self.symmetric,
            ),
            SchemeKind::Codebook => {
                packed_bits(rows, cols, self.bits) + ((16 * rows as u64) << self.bits)
            }
        };
        let sparse = if self.outliers {
            sparse_bits(rows, cols, outliers)
        } else {
            0
        };
        dense + sparse + SHAPE_BITS
    }
}

/// Codes with the padding of every row.
fn packed_bits(rows: usize, cols: usize, bits: u8) -> u64 {
    32 * (rows * pack::words(cols, bits)) as u64
}

fn uniform_bits(
    (rows, cols): (usize, usize),
    bits: u8,
    granularity: Granularity,
    scale_type: FloatType,
    symmetric: bool,
) -> u64 {
    let scales = granularity.scale_count(rows, cols) as u64 * scale_type.bits();
    let zero_points = match granularity {
        _ if symmetric => 0,
        // One zero point is stored as a plain byte.
        Granularity::Tensor => 8,
        _ => 32 * (pack::words(rows, bits) * granularity.groups_per_row(cols)) as u64,
    };
    packed_bits(rows, cols, bits) + scales + zero_points
}

/// Row pointers, columns (16 bits where they fit) and f16 values.
fn sparse_bits(rows: usize, cols: usize, stored: usize) -> u64 {
    let column_bits = if cols > 1 << 16 { 32 } else { 16 };
    32 * (rows as u64 + 1) + stored as u64 * (column_bits + 16)
}
