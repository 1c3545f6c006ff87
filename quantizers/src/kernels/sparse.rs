//! Weights that are stored apart, as they are multiplied.

use crate::tensor::Csr;
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
    /// `[blocks + 1]` offsets into what follows.
    starts: Vec<u32>,
    /// Which row of its block each value is of.
    rows: Vec<u8>,
    columns: Vec<u16>,
    values: Vec<f32>,
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
            rows: Vec::with_capacity(all.len()),
            columns: Vec::with_capacity(all.len()),
            values: Vec::with_capacity(all.len()),
        };
        for first in (0..count).step_by(BLOCK_ROWS) {
            let ends = &stored.row_pointers[first..=(first + BLOCK_ROWS).min(count)];
            let rows = ends
                .array_windows()
                .map(|[from, to]| *from as usize..*to as usize);
            let longest = rows.clone().map(|row| row.len()).max().unwrap_or(0);
            for nth in 0..longest {
                for (row, stored_at) in (0_u8..).zip(rows.clone()) {
                    if let Some(at) = stored_at.clone().nth(nth) {
                        sparse.rows.push(row);
                        sparse.columns.push(columns[at]);
                        sparse.values.push(all[at]);
                    }
                }
            }
            sparse.starts.extend(ends.last());
        }
        Some(sparse)
    }

    /// Calls `each` with row, column and value of all values of the blocks in `rows`, counted from the first of them.
    #[inline]
    fn for_each(&self, rows: Range<usize>, mut each: impl FnMut(usize, usize, f32)) {
        assert!(
            rows.start.is_multiple_of(BLOCK_ROWS),
            "whole blocks of rows"
        );
        let blocks = rows.start / BLOCK_ROWS..rows.end.div_ceil(BLOCK_ROWS);
        for (at, block) in blocks.enumerate() {
            let stored = self.starts[block] as usize..self.starts[block + 1] as usize;
            let columns = self.columns[stored.clone()].iter();
            let values = self.values[stored.clone()].iter();
            for ((row, column), value) in self.rows[stored].iter().zip(columns).zip(values) {
                each(
                    at * BLOCK_ROWS + usize::from(*row),
                    *column as usize,
                    *value,
                );
            }
        }
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
            1 => self.for_each(rows, |row, column, value| {
                sums[row] += value * inputs[column];
            }),
            2 => self.add_products_of::<2>(rows, inputs, sums),
            4 => self.add_products_of::<4>(rows, inputs, sums),
            8 => self.add_products_of::<8>(rows, inputs, sums),
            _ => self.for_each(rows, |row, column, value| {
                let inputs = &inputs[column * count..(column + 1) * count];
                let sums = &mut sums[row * count..(row + 1) * count];
                for (sum, x) in sums.iter_mut().zip(inputs) {
                    *sum += value * x;
                }
            }),
        }
    }

    /// The same of `N` inputs, which have room in registers.
    fn add_products_of<const N: usize>(
        &self,
        rows: Range<usize>,
        inputs: &[f32],
        sums: &mut [f32],
    ) {
        let (inputs, sums) = (inputs.as_chunks::<N>().0, sums.as_chunks_mut::<N>().0);
        self.for_each(rows, |row, column, value| {
            let (sums, inputs) = (&mut sums[row], &inputs[column]);
            for n in 0..N {
                sums[n] += value * inputs[n];
            }
        });
    }

    /// Adds `rows`, whole blocks or all that are left, to their dense weights `[rows, cols]`.
    pub(super) fn add_to(&self, rows: Range<usize>, cols: usize, weights: &mut [f32]) {
        self.for_each(rows, |row, column, value| {
            weights[row * cols + column] += value;
        });
    }

    /// Adds row `row` to its dense weights.
    pub(super) fn add_row(&self, row: usize, weights: &mut [f32]) {
        let first = row / BLOCK_ROWS * BLOCK_ROWS;
        self.for_each(first..row + 1, |at, column, value| {
            if first + at == row {
                weights[column] += value;
            }
        });
    }

    /// What it lies in.
    pub(super) fn memory(&self) -> [&[u8]; 4] {
        [
            bytemuck::cast_slice(&self.starts),
            &self.rows,
            bytemuck::cast_slice(&self.columns),
            bytemuck::cast_slice(&self.values),
        ]
    }
}
