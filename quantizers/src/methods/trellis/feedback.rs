//! How the errors of columns that are rounded move the blocks of columns that are not: the block LDL factor.
//!
//! With `H = L D L^T`, `L` unit lower triangular in blocks of 16 columns and `D` block diagonal, the error of a row is
//! `e H e^T = sum over blocks of (e L)_b D_b (e L)_b^T`, and `(e L)_b = e_b + sum over later blocks of e_j L_jb`. So the
//! last block is rounded first, and the target of each block is `w_b + sum_j e_j L_jb` over those that are done.

use crate::MatrixRef;
use crate::linalg::factor::invert_upper;
use crate::linalg::product::{Strided, add_product, multiply};
use crate::methods::QuantizeError;
use crate::methods::gptq;
use crate::trellis::tile::SIDE;

/// The factor of a Hessian, last column first.
pub(super) struct BlockFeedback {
    /// `M` of the Hessian with its columns reversed, `[cols, cols]`: the lower factor, turned round in both axes.
    reversed: gptq::Feedback,
    cols: usize,
}

impl BlockFeedback {
    /// Factors `hessian` `[cols, cols]`, `damping` times the mean of its diagonal added to the diagonal.
    ///
    /// # Errors
    /// A matrix without a factor at any damping.
    pub(super) fn new(hessian: &[f64], cols: usize, damping: f64) -> Result<Self, QuantizeError> {
        #[expect(clippy::cast_possible_truncation, reason = "as statistics are given")]
        let reversed: Vec<f32> = hessian.iter().rev().map(|value| *value as f32).collect();
        let matrix =
            MatrixRef::new(&reversed, cols, cols).map_err(|_| QuantizeError::StatShape {
                stat: crate::statistics::HESSIAN.name,
                expected: cols * cols,
                found: reversed.len(),
            })?;
        Ok(Self {
            reversed: gptq::Feedback::new(matrix, damping, false)?,
            cols,
        })
    }

    /// The damping used.
    pub(super) fn damping(&self) -> f64 {
        self.reversed.damping
    }

    /// Adds `sum_j e_j L_jb` to the columns from `start` on, `target` `[rows, 16]`; `errors` `[rows, cols]` are those of
    /// the columns behind them.
    pub(super) fn add(&self, errors: &[f32], start: usize, target: &mut [f32]) {
        let (cols, end) = (self.cols, start + SIDE);
        let behind = cols - end;
        if behind == 0 {
            return;
        }
        let factor = &self.reversed.factor;
        // Entry (row, col) of the lower factor.
        let lower = |row: usize, col: usize| factor[(cols - 1 - row) * cols + cols - 1 - col];
        // The corner of the block transposed, so that it is an upper one.
        let mut corner = [0.0; SIDE * SIDE];
        for row in 0..SIDE {
            corner[row * SIDE + row] = 1.0;
            for col in row + 1..SIDE {
                corner[row * SIDE + col] = lower(start + col, start + row);
            }
        }
        let inverse = invert_upper(&corner, SIDE);
        let panel: Vec<f32> = (end..cols)
            .flat_map(|row| (start..end).map(move |col| lower(row, col)))
            .collect();
        let mut blocks = vec![0.0; panel.len()];
        multiply(
            Strided::row_major(&panel, SIDE),
            Strided::row_major(&inverse, SIDE).transposed(),
            &mut blocks,
            SIDE,
            false,
        );
        let rows = errors.len() / cols;
        let errors = Strided::new(&errors[end..], rows, behind, cols, 1);
        add_product(errors, Strided::row_major(&blocks, SIDE), target);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `X^T X` of some inputs.
    fn hessian(cols: usize) -> Vec<f64> {
        let wave = |at: usize| ((at * 37 % 101) as f64 / 50.0 - 1.0).sin();
        let inputs: Vec<f64> = (0..3 * cols * cols).map(|at| wave(at * at)).collect();
        let mut hessian = vec![0.0; cols * cols];
        for input in inputs.chunks(cols) {
            for (row, a) in hessian.chunks_mut(cols).zip(input) {
                row.iter_mut().zip(input).for_each(|(sum, b)| *sum += a * b);
            }
        }
        hessian
    }

    #[test]
    fn the_target_of_a_block_is_where_the_error_is_least() {
        // Errors of the columns behind a block are given; in the block and before it, nothing is rounded: then the
        // change of the block is that which makes e H e^T least over the block and all columns before it.
        let cols = 48;
        let matrix = hessian(cols);
        let feedback = BlockFeedback::new(&matrix, cols, 0.0).unwrap();
        for start in [16, 0] {
            let mut errors = vec![0.0_f32; cols];
            let behind = (start + SIDE..cols).zip([0.5, -1.0, 0.25].into_iter().cycle());
            behind.for_each(|(at, error)| errors[at] = error);
            let mut moved = vec![0.0; SIDE];
            feedback.add(&errors, start, &mut moved);
            // The error of the block is minus what it was moved by. The gradient over free columns before it is zero
            // once they are moved in turn, block by block.
            for (error, moved) in errors[start..].iter_mut().zip(&moved) {
                *error = -moved;
            }
            for start in (0..start).step_by(SIDE).rev() {
                let mut moved = vec![0.0; SIDE];
                feedback.add(&errors, start, &mut moved);
                for (error, moved) in errors[start..].iter_mut().zip(&moved) {
                    *error = -moved;
                }
            }
            for col in 0..start + SIDE {
                let terms = (0..cols).map(|at| matrix[col * cols + at] * f64::from(errors[at]));
                let (sum, size) = terms.fold((0.0, 0.0), |(sum, size), term: f64| {
                    (sum + term, size + term.abs())
                });
                assert!(sum.abs() < 1e-4 * size, "column {col}: {sum} of {size}");
            }
        }
    }

    #[test]
    fn independent_inputs_move_nothing() {
        let cols = 32;
        let mut identity = vec![0.0; cols * cols];
        identity.iter_mut().step_by(cols + 1).for_each(|v| *v = 2.0);
        let feedback = BlockFeedback::new(&identity, cols, 0.01).unwrap();
        let mut moved = vec![0.0; 2 * SIDE];
        feedback.add(&[1.0; 64], 0, &mut moved);
        assert!(moved.iter().all(|value| value.abs() < 1e-9));
    }
}
