//! What the rows of a group are fitted to: the quadratic form of their error.

use crate::MatrixRef;
use crate::linalg::product::{Strided, multiply};
use crate::methods::QuantizeError;
use rayon::prelude::*;

/// `e^T H e` for the error `e` of a row, `H` damped and divided by its mean diagonal.
pub(super) struct Objective {
    /// `[cols, cols]`; zeros in the rows and columns of inputs that are never used.
    pub(super) hessian: Vec<f32>,
    /// One over its diagonal; 0 for inputs that are never used.
    pub(super) inverse_diagonal: Vec<f32>,
    /// What the Hessian was divided by.
    pub(super) unit: f64,
    /// Inputs that are never used.
    pub(super) dead: usize,
}

impl Objective {
    /// `hessian` `[cols, cols]` of the statistic `name`, with `damping` times its mean diagonal added to its diagonal.
    ///
    /// # Errors
    /// A value that is not finite, a diagonal below zero.
    pub(super) fn new(
        hessian: MatrixRef<'_>,
        damping: f64,
        name: &'static str,
    ) -> Result<Self, QuantizeError> {
        let cols = hessian.cols();
        let impossible = |row, col, value| QuantizeError::StatValue {
            stat: name,
            row,
            col,
            value,
        };
        if let Some((row, col, value)) = hessian.first_not_finite() {
            return Err(impossible(row, col, value));
        }
        let diagonal: Vec<f64> = (0..cols).map(|at| f64::from(hessian.row(at)[at])).collect();
        if let Some(at) = diagonal.iter().position(|value| *value < 0.0) {
            return Err(impossible(at, at, hessian.row(at)[at]));
        }
        let live = diagonal.iter().filter(|value| **value > 0.0).count();
        let sum: f64 = diagonal.iter().sum();
        let unit = if live == 0 { 1.0 } else { sum / live as f64 };
        let mut values = vec![0.0; cols * cols];
        if cols > 0 {
            values
                .par_chunks_mut(cols)
                .enumerate()
                .filter(|(row, _)| diagonal[*row] > 0.0)
                .for_each(|(row, out)| {
                    for (col, (out, value)) in out.iter_mut().zip(hessian.row(row)).enumerate() {
                        let damped = if col == row { damping } else { 0.0 };
                        *out = narrow(f64::from(*value) / unit + damped);
                    }
                });
        }
        let inverse_diagonal = (0..cols).map(|at| match values[at * cols + at] {
            0.0 => 0.0,
            value => 1.0 / value,
        });
        Ok(Self {
            inverse_diagonal: inverse_diagonal.collect(),
            hessian: values,
            unit,
            dead: cols - live,
        })
    }

    /// Inputs.
    pub(super) fn cols(&self) -> usize {
        self.inverse_diagonal.len()
    }

    /// `H e` of each row of `errors` `[rows, cols]`.
    pub(super) fn products(&self, errors: &[f32]) -> Vec<f32> {
        let cols = self.cols();
        let mut products = vec![0.0; errors.len()];
        let hessian = Strided::row_major(&self.hessian, cols);
        let errors = Strided::row_major(errors, cols);
        multiply(errors, hessian, &mut products, cols, false);
        products
    }
}

/// The sum of products, in f64; of several sums at a time, so that none waits for the last addition.
pub(super) fn dot(left: &[f32], right: &[f32]) -> f64 {
    const SUMS: usize = 8;
    let (left, left_rest) = left.as_chunks::<SUMS>();
    let (right, right_rest) = right.as_chunks::<SUMS>();
    let mut sums = [0.0; SUMS];
    for (left, right) in left.iter().zip(right) {
        for (sum, (a, b)) in sums.iter_mut().zip(left.iter().zip(right)) {
            *sum += f64::from(*a) * f64::from(*b);
        }
    }
    let rest = left_rest.iter().zip(right_rest);
    let rest: f64 = rest.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
    sums.iter().sum::<f64>() + rest
}

#[expect(clippy::cast_possible_truncation, reason = "products are in f32")]
fn narrow(value: f64) -> f32 {
    value as f32
}
