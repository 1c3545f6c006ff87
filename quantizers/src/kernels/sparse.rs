//! Weights that are stored apart, as they are multiplied.

use crate::tensor::Csr;
use half::slice::HalfFloatSliceExt;

/// Products that are summed apart, so that one need not wait for the other.
const CHAINS: usize = 4;

/// Sparse rows with their values as f32: converting each for every token takes several times as long as its product.
#[derive(Debug, Clone)]
pub(super) struct SparseRows {
    /// `[rows + 1]` offsets into columns and values.
    row_pointers: Vec<u32>,
    columns: Vec<u32>,
    values: Vec<f32>,
}

impl SparseRows {
    pub(super) fn of(stored: &Csr) -> Self {
        let mut values = vec![0.0; stored.values.len()];
        stored.values.convert_to_f32_slice(&mut values);
        Self {
            row_pointers: stored.row_pointers.clone(),
            columns: stored.columns.clone(),
            values,
        }
    }

    fn row(&self, row: usize) -> (&[u32], &[f32]) {
        let stored = self.row_pointers[row] as usize..self.row_pointers[row + 1] as usize;
        (&self.columns[stored.clone()], &self.values[stored])
    }

    /// What `row` adds to its sum with `input`.
    pub(super) fn sum(&self, row: usize, input: &[f32]) -> f32 {
        let (columns, values) = self.row(row);
        let mut sums = [0.0; CHAINS];
        let (fours, last_columns) = columns.as_chunks::<CHAINS>();
        let (of_fours, last_values) = values.as_chunks::<CHAINS>();
        for (columns, values) in fours.iter().zip(of_fours) {
            for ((sum, column), value) in sums.iter_mut().zip(columns).zip(values) {
                *sum += value * input[*column as usize];
            }
        }
        let last = last_columns.iter().zip(last_values);
        let last: f32 = last
            .map(|(column, value)| value * input[*column as usize])
            .sum();
        sums.iter().sum::<f32>() + last
    }

    /// Adds `row` to its dense weights.
    pub(super) fn add_to(&self, row: usize, weights: &mut [f32]) {
        let (columns, values) = self.row(row);
        for (column, value) in columns.iter().zip(values) {
            weights[*column as usize] += value;
        }
    }

    /// Bytes it takes.
    pub(super) fn bytes(&self) -> usize {
        4 * (self.row_pointers.len() + self.columns.len() + self.values.len())
    }
}
