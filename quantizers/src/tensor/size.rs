//! True sizes, known while planning: every bit that a file has to hold for a layer.
//!
//! Counted are packed codes with the padding of every row, scales, packed zero points, groups of
//! columns, tables, row scales, streams and signed scales of a trellis, row pointers, columns and values of
//! the sparse part, and `weight_shape`. What a format writes for a layer is exactly this, which a test checks for every
//! format.

use super::scheme::{SHAPE_BITS, Scheme, SchemeKind};
use super::storage::FloatType;
use super::{codebook, sparse, trellis, uniform};

impl Scheme {
    /// Bits a file will hold for a `[rows, cols]` layer, known before any weight is read.
    /// `scale_type` is how scales are stored, `outliers` the expected number of sparse values (0
    /// without a sparse part).
    pub fn storage_bits(
        &self,
        rows: usize,
        cols: usize,
        scale_type: FloatType,
        outliers: usize,
    ) -> u64 {
        let dense = match self.kind {
            SchemeKind::Uniform => uniform::storage_bits(
                (rows, cols),
                self.bits,
                self.granularity,
                scale_type,
                uniform::ZeroPoints::of(self.symmetric, self.float_zero_points),
                self.column_groups,
            ),
            SchemeKind::Codebook => {
                codebook::storage_bits((rows, cols), self.bits, self.granularity, self.tables)
            }
            SchemeKind::Trellis { code, .. } => {
                trellis::storage_bits((rows, cols), self.bits, code)
            }
        };
        let sparse = if self.outliers {
            sparse::storage_bits(rows, cols, outliers)
        } else {
            0
        };
        dense + sparse + SHAPE_BITS
    }
}
