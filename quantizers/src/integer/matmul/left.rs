//! The left operand: activation codes, one row per token.

use super::block::{STEP, assert_extent};

/// Codes `[rows, cols]` of `u8`; rows start `stride` codes apart.
#[derive(Debug, Clone, Copy)]
pub struct Left<'a> {
    codes: &'a [u8],
    rows: usize,
    cols: usize,
    stride: usize,
}

impl<'a> Left<'a> {
    /// A dense matrix `[rows, cols]`.
    ///
    /// # Panics
    /// If `codes` holds fewer than `rows * cols` codes.
    pub fn new(codes: &'a [u8], rows: usize, cols: usize) -> Self {
        Self::strided(codes, rows, cols, cols)
    }

    /// A matrix `[rows, cols]` whose rows start `stride` codes apart: one head of a projection.
    ///
    /// # Panics
    /// If `codes` ends before the last row does, or `stride` is under `cols`.
    pub fn strided(codes: &'a [u8], rows: usize, cols: usize, stride: usize) -> Self {
        assert_extent(codes.len(), rows, cols, stride);
        Self {
            codes,
            rows,
            cols,
            stride,
        }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Inputs of one row.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Codes of row `row`, `[cols]`.
    pub fn row(&self, row: usize) -> &'a [u8] {
        &self.codes[row * self.stride..row * self.stride + self.cols]
    }

    /// Codes between the starts of two rows.
    pub(super) fn stride(&self) -> usize {
        self.stride
    }

    /// Steps of [`STEP`] inputs, the last one maybe short.
    pub(super) fn steps(&self) -> usize {
        self.cols.div_ceil(STEP)
    }

    /// The last `cols % 4` codes of `row` as one little-endian word, zeros above; 0 if none.
    pub(super) fn tail(&self, row: usize) -> u32 {
        let row = self.row(row);
        let tail = &row[self.cols - self.cols % STEP..];
        let mut word = [0; STEP];
        word[..tail.len()].copy_from_slice(tail);
        u32::from_le_bytes(word)
    }
}
