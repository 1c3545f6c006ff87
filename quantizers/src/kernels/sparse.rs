//! Weights that are stored apart, as they are multiplied.

use crate::tensor::Csr;
use half::slice::HalfFloatSliceExt;

/// Sparse rows with their values as f32: converting each for every token takes several times as long as its product.
///
/// Rows hold two or three values each. A loop over so few is mispredicted at its end, which takes longer than its products;
/// so every value knows its row, and one loop runs through all of a range of rows.
#[derive(Debug, Clone)]
pub(super) struct SparseRows {
    /// `[rows + 1]` offsets into what follows.
    row_pointers: Vec<u32>,
    /// The lower 16 bits of the row of each value.
    rows: Vec<u16>,
    columns: Vec<u32>,
    values: Vec<f32>,
}

/// Rows that the lower bits of their numbers tell apart.
const MOST_ROWS: usize = 1 << 16;

impl SparseRows {
    pub(super) fn of(stored: &Csr) -> Self {
        let mut values = vec![0.0; stored.values.len()];
        stored.values.convert_to_f32_slice(&mut values);
        let counts = stored.row_pointers.array_windows();
        let rows = counts.enumerate().flat_map(|(row, [from, to])| {
            let row = lower_bits(row);
            (*from..*to).map(move |_| row)
        });
        Self {
            row_pointers: stored.row_pointers.clone(),
            rows: rows.collect(),
            columns: stored.columns.clone(),
            values,
        }
    }

    fn stored(&self, rows: std::ops::Range<usize>) -> std::ops::Range<usize> {
        self.row_pointers[rows.start] as usize..self.row_pointers[rows.end] as usize
    }

    /// Adds what `rows`, at most 65,536, add to their sums with `input`.
    pub(super) fn add_products(
        &self,
        rows: std::ops::Range<usize>,
        input: &[f32],
        sums: &mut [f32],
    ) {
        assert!(rows.len() <= MOST_ROWS, "rows that can be told apart");
        let first = lower_bits(rows.start);
        let stored = self.stored(rows);
        let columns = self.columns[stored.clone()].iter();
        let values = self.values[stored.clone()].iter();
        for ((row, column), value) in self.rows[stored].iter().zip(columns).zip(values) {
            sums[usize::from(row.wrapping_sub(first))] += value * input[*column as usize];
        }
    }

    /// Adds `row` to its dense weights.
    pub(super) fn add_to(&self, row: usize, weights: &mut [f32]) {
        let stored = self.stored(row..row + 1);
        let values = &self.values[stored.clone()];
        for (column, value) in self.columns[stored].iter().zip(values) {
            weights[*column as usize] += value;
        }
    }

    /// Bytes it takes.
    pub(super) fn bytes(&self) -> usize {
        2 * self.rows.len() + 4 * (self.row_pointers.len() + self.columns.len() + self.values.len())
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the lower bits")]
fn lower_bits(row: usize) -> u16 {
    row as u16
}
