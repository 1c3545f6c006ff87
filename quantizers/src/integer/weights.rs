//! Codes of a linear layer.

use std::sync::Arc;

/// 8-bit codes `[rows, cols]`, row = output channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weights {
    /// Output channels.
    pub rows: usize,
    /// Inputs.
    pub cols: usize,
    /// Codes, row-major.
    pub codes: Arc<[i8]>,
}

impl Weights {
    /// Shares `codes`.
    pub fn new(rows: usize, cols: usize, codes: Vec<i8>) -> Self {
        Self {
            rows,
            cols,
            codes: codes.into(),
        }
    }

    /// Codes of one output channel.
    pub fn row(&self, row: usize) -> &[i8] {
        &self.codes[row * self.cols..(row + 1) * self.cols]
    }
}
