//! Weights that are stored apart, as they are multiplied.

use crate::tensor::Csr;
use bytemuck::NoUninit;
use half::slice::HalfFloatSliceExt;
use std::ops::Range;

/// Rows whose values stand together.
pub(super) const BLOCK_ROWS: usize = 32;

/// Sparse rows with their values as f32: converting each for every token takes several times as long as its product.
///
/// Rows hold two or three values each. A loop over so few is mispredicted at its end, and each of its sums waits for the
/// one before; both take longer than the products. So the values of [`BLOCK_ROWS`] rows stand together, the first of each
/// row, then the second of each, and every value knows its row: one loop runs through all of them, and neighbours add to
/// different sums.
#[derive(Debug, Clone)]
pub(super) struct SparseRows {
    /// `[blocks + 1]` offsets into the values.
    starts: Vec<u32>,
    values: Vec<Value>,
}

/// A value with where it is, read from memory at once.
#[derive(Debug, Clone, Copy, NoUninit)]
#[repr(C)]
struct Value {
    weight: f32,
    column: u16,
    /// Of its block.
    row: u16,
}

impl SparseRows {
    /// `None` where a column has a number of more than 16 bits.
    pub(super) fn of(stored: &Csr) -> Option<Self> {
        let columns: Result<Vec<u16>, _> =
            stored.columns.iter().map(|at| u16::try_from(*at)).collect();
        let columns = columns.ok()?;
        let mut all = vec![0.0; stored.values.len()];
        stored.values.convert_to_f32_slice(&mut all);
        let count = stored.row_pointers.len().saturating_sub(1);
        let mut sparse = Self {
            starts: vec![0],
            values: Vec::with_capacity(all.len()),
        };
        for first in (0..count).step_by(BLOCK_ROWS) {
            let ends = &stored.row_pointers[first..=(first + BLOCK_ROWS).min(count)];
            let rows = ends
                .array_windows()
                .map(|[from, to]| *from as usize..*to as usize);
            let longest = rows.clone().map(|row| row.len()).max().unwrap_or(0);
            for nth in 0..longest {
                for (row, stored_at) in (0_u16..).zip(rows.clone()) {
                    if let Some(at) = stored_at.clone().nth(nth) {
                        sparse.values.push(Value {
                            weight: all[at],
                            column: columns[at],
                            row,
                        });
                    }
                }
            }
            sparse.starts.extend(ends.last());
        }
        Some(sparse)
    }

    /// The values of each block of `rows`.
    fn blocks(&self, rows: Range<usize>) -> impl Iterator<Item = &[Value]> {
        assert!(
            rows.start.is_multiple_of(BLOCK_ROWS),
            "whole blocks of rows"
        );
        let blocks = rows.start / BLOCK_ROWS..rows.end.div_ceil(BLOCK_ROWS);
        blocks
            .map(|block| &self.values[self.starts[block] as usize..self.starts[block + 1] as usize])
    }

    /// Adds what `rows`, whole blocks or all that are left, add to their sums `[rows, count]` with `inputs`
    /// `[cols, count]`.
    pub(super) fn add_products(
        &self,
        rows: Range<usize>,
        inputs: &[f32],
        count: usize,
        sums: &mut [f32],
    ) {
        match count {
            1 => self.add_products_of::<1>(rows, inputs, sums),
            2 => self.add_products_of::<2>(rows, inputs, sums),
            4 => self.add_products_of::<4>(rows, inputs, sums),
            8 => self.add_products_of::<8>(rows, inputs, sums),
            _ => {
                let sums = sums.chunks_mut(BLOCK_ROWS * count);
                for (values, sums) in self.blocks(rows).zip(sums) {
                    for at in values {
                        let inputs = &inputs[usize::from(at.column) * count..][..count];
                        let sums = &mut sums[usize::from(at.row) * count..][..count];
                        for (sum, x) in sums.iter_mut().zip(inputs) {
                            *sum += at.weight * x;
                        }
                    }
                }
            }
        }
    }

    /// The same of `N` inputs, which have room in registers.
    fn add_products_of<const N: usize>(
        &self,
        rows: Range<usize>,
        inputs: &[f32],
        sums: &mut [f32],
    ) {
        let inputs = inputs.as_chunks::<N>().0;
        let sums = sums.as_chunks_mut::<N>().0.chunks_mut(BLOCK_ROWS);
        for (values, sums) in self.blocks(rows).zip(sums) {
            // Of a size that makes every row of a block one of these.
            let mut block = [[0.0; N]; BLOCK_ROWS];
            block[..sums.len()].copy_from_slice(sums);
            for at in values {
                let inputs = &inputs[usize::from(at.column)];
                let sums = &mut block[usize::from(at.row) % BLOCK_ROWS];
                for n in 0..N {
                    sums[n] += at.weight * inputs[n];
                }
            }
            sums.copy_from_slice(&block[..sums.len()]);
        }
    }

    /// Adds `rows`, whole blocks or all that are left, to their dense weights `[rows, cols]`.
    pub(super) fn add_to(&self, rows: Range<usize>, cols: usize, weights: &mut [f32]) {
        let weights = weights.chunks_mut(BLOCK_ROWS * cols);
        for (values, weights) in self.blocks(rows).zip(weights) {
            for at in values {
                weights[usize::from(at.row) * cols + usize::from(at.column)] += at.weight;
            }
        }
    }

    /// Adds row `row` to its dense weights.
    pub(super) fn add_row(&self, row: usize, weights: &mut [f32]) {
        let first = row / BLOCK_ROWS * BLOCK_ROWS;
        for at in self.blocks(first..row + 1).flatten() {
            if first + usize::from(at.row) == row {
                weights[usize::from(at.column)] += at.weight;
            }
        }
    }

    /// What it lies in.
    pub(super) fn memory(&self) -> [&[u8]; 2] {
        [
            bytemuck::cast_slice(&self.starts),
            bytemuck::cast_slice(&self.values),
        ]
    }
}
