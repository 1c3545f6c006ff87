//! How far an approximation of a weight is from the original.
//!
//! Sums are f64, taken row by row and then over rows in order, so that they do not depend on the
//! number of threads.

use crate::MatrixRef;
use crate::linalg::product::{Strided, multiply};
use rayon::prelude::*;

/// Rows whose outputs are compared at once.
const OUTPUT_ROWS: usize = 256;

/// Energy of a signal and of the error against it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Deviation {
    /// `sum w^2`.
    pub signal: f64,
    /// `sum (w - w')^2`.
    pub error: f64,
    /// `max |w - w'|`.
    pub largest: f32,
}

impl Deviation {
    /// Compares `approximation` with `original`, `[rows, cols]` both.
    ///
    /// # Panics
    /// When the shapes differ.
    pub fn between(original: MatrixRef<'_>, approximation: MatrixRef<'_>) -> Self {
        assert_same_shape(original, approximation);
        let rows: Vec<Self> = (0..original.rows())
            .into_par_iter()
            .map(|row| Self::of_row(original.row(row), approximation.row(row)))
            .collect();
        rows.into_iter().fold(Self::default(), Self::and)
    }

    /// Compares the outputs of a layer with the weights `approximation` and `original`,
    /// `[rows, cols]` both, over the tokens whose `X^T X` is `hessian` `[cols, cols]`:
    /// `sum w^2` is `tr(W H W^T)`, `sum (w - w')^2` is `tr(D H D^T)` with `D = W - W'`; `largest` is that of
    /// the weights.
    ///
    /// # Panics
    /// When the shapes differ.
    pub fn of_outputs(
        original: MatrixRef<'_>,
        approximation: MatrixRef<'_>,
        hessian: MatrixRef<'_>,
    ) -> Self {
        let (rows, cols) = (original.rows(), original.cols());
        assert_same_shape(original, approximation);
        assert_eq!(
            (cols, cols),
            (hessian.rows(), hessian.cols()),
            "inputs by inputs"
        );
        if cols == 0 {
            return Self::default();
        }
        let moments = Strided::row_major(hessian.data(), cols);
        let energy = |matrix: &[f32]| {
            let mut through = vec![0.0; matrix.len()];
            multiply(
                Strided::row_major(matrix, cols),
                moments,
                &mut through,
                cols,
                false,
            );
            let products = matrix.chunks(cols).zip(through.chunks(cols));
            products.fold(0.0, |sum, (matrix, through)| {
                let pairs = matrix.iter().zip(through);
                sum + pairs.fold(0.0, |sum, (a, b)| sum + f64::from(*a) * f64::from(*b))
            })
        };
        let strips: Vec<Self> = (0..rows)
            .into_par_iter()
            .step_by(OUTPUT_ROWS)
            .map(|from| {
                let part = from * cols..(from + OUTPUT_ROWS).min(rows) * cols;
                let original = &original.data()[part.clone()];
                let pairs = original.iter().zip(&approximation.data()[part]);
                let errors: Vec<f32> = pairs.map(|(weight, value)| weight - value).collect();
                Self {
                    signal: energy(original),
                    error: energy(&errors).max(0.0),
                    largest: errors.iter().fold(0.0, |most, error| most.max(error.abs())),
                }
            })
            .collect();
        strips.into_iter().fold(Self::default(), Self::and)
    }

    /// Both deviations together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            signal: self.signal + other.signal,
            error: self.error + other.error,
            largest: self.largest.max(other.largest),
        }
    }

    /// Signal to quantization noise, `10 log10(sum w^2 / sum (w - w')^2)`; infinite without error.
    pub fn sqnr_db(self) -> f64 {
        if self.error == 0.0 {
            f64::INFINITY
        } else {
            10.0 * (self.signal / self.error).log10()
        }
    }

    /// `sum (w - w')^2 / sum w^2`; 0 without error.
    pub fn relative(self) -> f64 {
        if self.error == 0.0 {
            0.0
        } else {
            self.error / self.signal
        }
    }

    fn of_row(original: &[f32], approximation: &[f32]) -> Self {
        let mut row = Self::default();
        for (weight, value) in original.iter().zip(approximation) {
            let difference = f64::from(*weight) - f64::from(*value);
            row.signal += f64::from(*weight) * f64::from(*weight);
            row.error += difference * difference;
            row.largest = row.largest.max((weight - value).abs());
        }
        row
    }
}

/// [`Deviation::sqnr_db`] of two matrices.
///
/// # Panics
/// When the shapes differ.
pub fn sqnr_db(original: MatrixRef<'_>, approximation: MatrixRef<'_>) -> f64 {
    Deviation::between(original, approximation).sqnr_db()
}

/// [`Deviation::relative`] of two matrices.
///
/// # Panics
/// When the shapes differ.
pub fn relative_mse(original: MatrixRef<'_>, approximation: MatrixRef<'_>) -> f64 {
    Deviation::between(original, approximation).relative()
}

/// `sum F (w - w')^2`: the increase of the loss that the diagonal Fisher `F` predicts, up to a
/// factor.
///
/// # Panics
/// When the shapes differ.
pub fn weighted_error(
    original: MatrixRef<'_>,
    approximation: MatrixRef<'_>,
    fisher: MatrixRef<'_>,
) -> f64 {
    assert_same_shape(original, approximation);
    assert_same_shape(original, fisher);
    let rows: Vec<f64> = (0..original.rows())
        .into_par_iter()
        .map(|row| {
            let pairs = original.row(row).iter().zip(approximation.row(row));
            pairs
                .zip(fisher.row(row))
                .fold(0.0, |sum, ((weight, value), fisher)| {
                    let difference = f64::from(*weight) - f64::from(*value);
                    sum + f64::from(*fisher) * difference * difference
                })
        })
        .collect();
    rows.into_iter().fold(0.0, |sum, row| sum + row)
}

fn assert_same_shape(a: MatrixRef<'_>, b: MatrixRef<'_>) {
    assert_eq!(
        (a.rows(), a.cols()),
        (b.rows(), b.cols()),
        "matrices of one shape"
    );
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "sums of small whole numbers are exact")]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_worked_by_hand() {
        let original = [3.0, 4.0, 0.0, 5.0];
        let close = [3.0, 4.5, 0.0, 4.5];
        let original = MatrixRef::new(&original, 2, 2).unwrap();
        let close = MatrixRef::new(&close, 2, 2).unwrap();
        let deviation = Deviation::between(original, close);
        // sum w^2 = 9 + 16 + 25 = 50, error 0.25 + 0.25: a ratio of 100 is 20 dB.
        assert_eq!(
            deviation,
            Deviation {
                signal: 50.0,
                error: 0.5,
                largest: 0.5
            }
        );
        assert_eq!(sqnr_db(original, close), 20.0);
        assert_eq!(relative_mse(original, close), 0.01);
        let fisher = [1.0, 2.0, 3.0, 4.0];
        let fisher = MatrixRef::new(&fisher, 2, 2).unwrap();
        assert_eq!(
            weighted_error(original, close, fisher),
            0.25 * 2.0 + 0.25 * 4.0
        );
        assert_eq!(sqnr_db(original, original), f64::INFINITY);
        assert_eq!(relative_mse(original, original), 0.0);
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let values: Vec<f32> = (0..40_000u16).map(|i| f32::from(i).sin()).collect();
        let near: Vec<f32> = values.iter().map(|value| value * 0.99).collect();
        let a = MatrixRef::new(&values, 200, 200).unwrap();
        let b = MatrixRef::new(&near, 200, 200).unwrap();
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| Deviation::between(a, b))
        };
        assert_eq!(with(1), with(4));
    }
}
