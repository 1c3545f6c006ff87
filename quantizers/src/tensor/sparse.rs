//! The sparse part of a matrix: values that are added to the dense one.

use super::digest::Parts;
use super::invalid::{InvalidTensor, finite, length};
use bytemuck::cast_slice;
use half::f16;

/// Compressed sparse rows; values ADD to the dense part.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Csr {
    /// `[rows + 1]` offsets into `columns`.
    pub row_pointers: Vec<u32>,
    /// Input index of every stored value, ascending within a row.
    pub columns: Vec<u32>,
    /// `w - dense(w)` of every stored value.
    pub values: Vec<f16>,
}

/// Bits of row pointers, columns (16 bits where they fit) and f16 values.
pub(super) fn storage_bits(rows: usize, cols: usize, stored: usize) -> u64 {
    let column_bits = if cols > 1 << 16 { 32 } else { 16 };
    32 * (rows as u64 + 1) + stored as u64 * (column_bits + 16)
}

impl Csr {
    pub(super) fn check(&self, rows: usize, cols: usize) -> Result<(), InvalidTensor> {
        let stored = self.values.len();
        length("sparse columns", stored, self.columns.len())?;
        length("row pointers", rows + 1, self.row_pointers.len())?;
        finite(
            "sparse values",
            self.values.iter().map(|value| value.to_f32()),
        )?;
        let mut low = 0;
        for (row, &found) in self.row_pointers.iter().enumerate() {
            let first_is_zero = row > 0 || found == 0;
            let last_is_all = row < rows || found as usize == stored;
            if found < low || found as usize > stored || !first_is_zero || !last_is_all {
                return Err(InvalidTensor::RowPointer {
                    row,
                    found,
                    low,
                    high: stored,
                });
            }
            low = found;
        }
        for (row, ends) in self.row_pointers.windows(2).enumerate() {
            let mut low = 0;
            for &found in &self.columns[ends[0] as usize..ends[1] as usize] {
                if found < low || found as usize >= cols {
                    let high = cols.saturating_sub(1);
                    return Err(InvalidTensor::Column {
                        row,
                        found,
                        low,
                        high,
                    });
                }
                low = found + 1;
            }
        }
        Ok(())
    }

    /// Adds the stored values of `row` to `out`.
    pub(super) fn add_row(&self, row: usize, out: &mut [f32]) {
        let stored = self.row_pointers[row] as usize..self.row_pointers[row + 1] as usize;
        let columns = &self.columns[stored.clone()];
        for (column, value) in columns.iter().zip(&self.values[stored]) {
            out[*column as usize] += value.to_f32();
        }
    }

    pub(super) fn add_to(&self, digest: &mut Parts) {
        digest.add("row pointers", cast_slice(&self.row_pointers));
        digest.add("columns", cast_slice(&self.columns));
        digest.add("sparse values", cast_slice(&self.values));
    }
}
