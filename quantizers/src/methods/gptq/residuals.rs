//! Quadratic forms by the factor of the column loop: half the work that the Hessian itself takes.
//!
//! With `H = M D M^T` the loss of an error `e` is `sum_k D_k u_k^2`, `u = M^T e`, and `H e` is `M D u`. The column loop
//! knows `u`: it is what rounding adds to the target of each column.

use super::feedback::Feedback;
use crate::linalg::product::{Strided, multiply};

/// Columns of a product.
const BLOCK: usize = 128;

impl Feedback {
    /// `H e / mean` of some rows, `[cols, rows]`, from their `u`; all in the order of the columns.
    pub(super) fn residuals(&self, rounded: &[f32], rows: usize) -> Vec<f32> {
        let cols = self.order.len();
        let mut weighted = rounded.to_vec();
        for (values, variance) in weighted.chunks_mut(rows).zip(&self.variances) {
            let share = narrow(variance / self.mean);
            for value in values {
                *value *= share;
            }
        }
        let mut residuals = vec![0.0; weighted.len()];
        for from in (0..cols).step_by(BLOCK) {
            let to = (from + BLOCK).min(cols);
            let factor = &self.factor[from * cols + from..];
            let factor = Strided::new(factor, to - from, cols - from, cols, 1);
            let weighted = Strided::row_major(&weighted[from * rows..], rows);
            let out = &mut residuals[from * rows..to * rows];
            multiply(factor, weighted, out, rows, false);
        }
        residuals
    }

    /// Which rows of `errors` `[rows, cols]`, with columns as they were, have a loss `e^T H e / mean` above that in
    /// `bounds`. Losses are sums of what each column adds; as soon as a row is above, no more is added.
    pub(in crate::methods) fn lose_more(&self, errors: &[f32], bounds: &[f64]) -> Vec<bool> {
        let cols = self.order.len();
        let mut lose_more = vec![false; bounds.len()];
        let mut losses = vec![0.0; bounds.len()];
        // Rows that are not above yet, and their errors in the order of the columns.
        let mut open: Vec<usize> = (0..bounds.len()).collect();
        let mut ordered = Vec::with_capacity(errors.len());
        for errors in errors.chunks(cols) {
            ordered.extend(self.order.iter().map(|col| errors[*col]));
        }
        // The last columns have the largest part: what they share with others is in them.
        for from in (0..cols).step_by(BLOCK).rev() {
            let to = (from + BLOCK).min(cols);
            let left = Strided::new(&ordered, open.len(), to, cols, 1);
            let right = Strided::new(&self.factor[from..], to, to - from, cols, 1);
            let mut sums = vec![0.0; open.len() * (to - from)];
            multiply(left, right, &mut sums, to - from, false);
            for (row, sums) in open.iter().zip(sums.chunks(to - from)) {
                let squares = sums.iter().map(|sum| f64::from(*sum).powi(2));
                let weighted = squares.zip(&self.variances[from..to]);
                let added: f64 = weighted.map(|(square, variance)| square * variance).sum();
                losses[*row] += added / self.mean;
                lose_more[*row] = losses[*row] > bounds[*row];
            }
            let mut kept = 0;
            for at in 0..open.len() {
                if !lose_more[open[at]] {
                    open[kept] = open[at];
                    ordered.copy_within(at * cols..at * cols + from, kept * cols);
                    kept += 1;
                }
            }
            open.truncate(kept);
            if open.is_empty() {
                break;
            }
        }
        lose_more
    }
}

#[expect(clippy::cast_possible_truncation, reason = "products are in f32")]
fn narrow(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MatrixRef;

    #[test]
    fn residuals_and_losses_are_those_of_the_hessian() {
        // X^T X of a few waves, with an input that is never used.
        let (size, rows) = (300, 3);
        let wave = |at: usize, by: f32| (at as f32 * by).sin();
        let inputs: Vec<f32> = (0..400 * size)
            .map(|at| {
                if at % size == 7 {
                    0.0
                } else {
                    wave(at, 0.37) + wave(at, 1.7)
                }
            })
            .collect();
        let inputs = Strided::row_major(&inputs, size);
        let hessian = crate::linalg::product::product(inputs.transposed(), inputs);
        let feedback =
            Feedback::new(MatrixRef::new(&hessian, size, size).unwrap(), 0.1, true).unwrap();
        let errors: Vec<f32> = (0..rows * size).map(|at| wave(at, 2.3)).collect();
        let damped = |row: usize, col: usize| {
            let damp = if row == col && row != 7 {
                feedback.damping
            } else {
                0.0
            };
            f64::from(hessian[row * size + col]) / feedback.mean + damp
        };
        let expected = |row: usize, at: usize| -> f64 {
            let errors = &errors[row * size..(row + 1) * size];
            let terms = errors.iter().enumerate();
            terms
                .map(|(col, error)| damped(at, col) * f64::from(*error))
                .sum()
        };
        // u = M^T e, in the order of the columns.
        let mut rounded = vec![0.0; size * rows];
        for (position, sums) in rounded.chunks_mut(rows).enumerate() {
            for (row, sum) in sums.iter_mut().enumerate() {
                for (before, col) in feedback.order[..=position].iter().enumerate() {
                    *sum += feedback.factor[before * size + position] * errors[row * size + col];
                }
            }
        }
        let found = feedback.residuals(&rounded, rows);
        for (position, col) in feedback.order.iter().enumerate() {
            for row in 0..rows {
                let (found, expected) = (found[position * rows + row], expected(row, *col));
                assert!(
                    (f64::from(found) - expected).abs() < 1e-3,
                    "{found} {expected}"
                );
            }
        }
        let losses: Vec<f64> = (0..rows)
            .map(|row| {
                let cols = 0..size;
                cols.map(|col| f64::from(errors[row * size + col]) * expected(row, col))
                    .sum()
            })
            .collect();
        let below: Vec<f64> = losses.iter().map(|loss| 0.999 * loss).collect();
        assert_eq!(feedback.lose_more(&errors, &below), [true; 3]);
        let above: Vec<f64> = losses.iter().map(|loss| 1.001 * loss).collect();
        assert_eq!(feedback.lose_more(&errors, &above), [false; 3]);
    }
}
