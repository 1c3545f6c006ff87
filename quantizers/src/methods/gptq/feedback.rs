//! How the rounding errors of earlier columns move later ones.

use crate::MatrixRef;
use crate::linalg::factor::{self, NotPositive};
use crate::methods::QuantizeError;
use crate::statistics::HESSIAN;
use rayon::prelude::*;

/// Damping above which a Hessian is given up: it is no `X^T X`.
const MOST_DAMPING: f64 = 1.0;
/// Damping tried first where it was switched off and the factor does not exist.
const LEAST_RAISE: f64 = 0.01;

/// The columns of a layer in the order they are rounded, and the factor that spreads their errors.
///
/// With `H + damping * mean(diag H) I = M D M^T` ([`crate::linalg::factor`]) in that order, the best
/// target of column `k` once the columns before it are rounded is
/// `w_k + sum_{j < k} (w_j - w'_j) M_jk`. It is the column that GPTQ reaches by its updates with the
/// Cholesky factor of `H^-1`, without the inverse.
#[derive(Debug, Clone)]
pub struct Feedback {
    /// Original column at each position.
    pub order: Vec<usize>,
    /// `M`, `[cols, cols]`: ones on its diagonal, zeros below.
    pub factor: Vec<f32>,
    /// `D`, what is left of the variance of each input once those after it are known; in the units of the Hessian,
    /// damping included. 0 for inputs that were zero in all calibration data.
    pub variances: Vec<f64>,
    /// The damping used: what was asked for, or more where the factorisation failed with that.
    pub damping: f64,
    /// Mean of the diagonal over the inputs that are ever non-zero; 1 where none is.
    pub mean: f64,
    /// Columns whose input was zero in all calibration data; they are rounded to nearest.
    pub dead: usize,
}

impl Feedback {
    /// Factors `hessian` (`X^T X` up to a factor) with the columns in their own order or, with
    /// `act_order`, by descending diagonal.
    ///
    /// # Errors
    /// A value that is not finite, a diagonal below zero, a matrix without a factor at any damping.
    pub fn new(
        hessian: MatrixRef<'_>,
        damping: f64,
        act_order: bool,
    ) -> Result<Self, QuantizeError> {
        let size = hessian.cols();
        let diagonal = checked_diagonal(hessian)?;
        let mut order: Vec<usize> = (0..size).collect();
        if act_order {
            order.sort_by(|&a, &b| diagonal[b].total_cmp(&diagonal[a]));
        }
        let live = diagonal.iter().filter(|value| **value > 0.0);
        let (count, sum) = live.fold((0usize, 0.0), |(count, sum), value| {
            (count + 1, sum + f64::from(*value))
        });
        let mean = if count == 0 { 1.0 } else { sum / count as f64 };
        let mut used = damping;
        loop {
            let mut matrix = ordered(hessian, &order, mean, used * mean);
            match factor::unit_upper(&mut matrix, size) {
                Ok(mut variances) => {
                    for (variance, col) in variances.iter_mut().zip(&order) {
                        if diagonal[*col] <= 0.0 {
                            *variance = 0.0;
                        }
                    }
                    return Ok(Self {
                        factor: upper(&matrix, size),
                        order,
                        variances,
                        damping: used,
                        mean,
                        dead: size - count,
                    });
                }
                Err(NotPositive { row }) => {
                    if used >= MOST_DAMPING {
                        return Err(QuantizeError::NotPositive { col: order[row] });
                    }
                    used = (2.0 * used).clamp(LEAST_RAISE, MOST_DAMPING);
                }
            }
        }
    }
}

/// The upper triangle of `matrix` in f32, zeros below.
fn upper(matrix: &[f64], size: usize) -> Vec<f32> {
    let mut values = vec![0.0; matrix.len()];
    if size > 0 {
        let rows = values.par_chunks_mut(size).enumerate();
        rows.for_each(|(row, out)| {
            for (out, value) in out.iter_mut().zip(&matrix[row * size..]).skip(row) {
                #[expect(clippy::cast_possible_truncation, reason = "the column loop is in f32")]
                let value = *value as f32;
                *out = value;
            }
        });
    }
    values
}

/// The upper triangle of `hessian` in `order`, as f64, with `damp` added to its diagonal and `mean`
/// in place of zeros there.
fn ordered(hessian: MatrixRef<'_>, order: &[usize], mean: f64, damp: f64) -> Vec<f64> {
    let size = order.len();
    let mut matrix = vec![0.0; size * size];
    if size == 0 {
        return matrix;
    }
    matrix
        .par_chunks_mut(size)
        .enumerate()
        .for_each(|(row, out)| {
            let source = hessian.row(order[row]);
            for (out, &col) in out[row..].iter_mut().zip(&order[row..]) {
                *out = f64::from(source[col]);
            }
            if out[row] == 0.0 {
                out[row] = mean;
            }
            out[row] += damp;
        });
    matrix
}

/// The diagonal of a Hessian whose values are all possible.
fn checked_diagonal(hessian: MatrixRef<'_>) -> Result<Vec<f32>, QuantizeError> {
    let impossible = |row, col, value| QuantizeError::StatValue {
        stat: HESSIAN.name,
        row,
        col,
        value,
    };
    if let Some((row, col, value)) = hessian.first_not_finite() {
        return Err(impossible(row, col, value));
    }
    let diagonal: Vec<f32> = (0..hessian.cols()).map(|at| hessian.row(at)[at]).collect();
    match diagonal.iter().position(|value| *value < 0.0) {
        Some(at) => Err(impossible(at, at, diagonal[at])),
        None => Ok(diagonal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f32], size: usize) -> MatrixRef<'_> {
        MatrixRef::new(values, size, size).unwrap()
    }

    #[test]
    fn two_columns_worked_by_hand() {
        // H = [4 2; 2 2] = M D M^T with M_01 = 2 / 2 = 1; in descending order too.
        let feedback = Feedback::new(of(&[4.0, 2.0, 2.0, 2.0], 2), 0.0, true).unwrap();
        assert_eq!(feedback.order, [0, 1]);
        assert!((feedback.factor[1] - 1.0).abs() < 1e-7);
        // Ones on the diagonal, zeros below; D = (4 - 2 * 2 / 2, 2).
        for (at, expected) in [(0, 1.0), (2, 0.0), (3, 1.0)] {
            assert!((feedback.factor[at] - expected).abs() < 1e-7);
        }
        assert!(
            feedback
                .variances
                .iter()
                .all(|variance| (variance - 2.0).abs() < 1e-12)
        );
        // Turned round: M_01 = 2 / 4.
        let feedback = Feedback::new(of(&[2.0, 2.0, 2.0, 4.0], 2), 0.0, true).unwrap();
        assert_eq!(feedback.order, [1, 0]);
        let feedback = Feedback::new(of(&[2.0, 2.0, 2.0, 4.0], 2), 0.0, false).unwrap();
        assert!((feedback.factor[1] - 0.5).abs() < 1e-7);
        // The mean of the diagonal is 3, so a damping of 1 makes it 7.
        let feedback = Feedback::new(of(&[2.0, 2.0, 2.0, 4.0], 2), 1.0, false).unwrap();
        assert!((feedback.factor[1] - 2.0 / 7.0).abs() < 1e-7);
    }

    #[test]
    fn damping_is_raised_until_the_factor_exists() {
        // One token: rank 1.
        let feedback = Feedback::new(of(&[1.0, 1.0, 1.0, 1.0], 2), 0.0, false).unwrap();
        assert!((feedback.damping - LEAST_RAISE).abs() < 1e-12);
        // 1.0 and 1.1: positive definite with a damping above 0.1, the fifth one tried.
        let feedback = Feedback::new(of(&[1.0, 1.1, 1.1, 1.0], 2), 0.01, false).unwrap();
        assert!((feedback.damping - 0.16).abs() < 1e-12);
        let hopeless = Feedback::new(of(&[1.0, 9.0, 9.0, 1.0], 2), 0.01, false);
        assert_eq!(hopeless.unwrap_err(), QuantizeError::NotPositive { col: 0 });
    }

    #[test]
    fn dead_inputs_are_counted_and_move_nothing() {
        let hessian = [4.0, 0.0, 2.0, 0.0, 0.0, 0.0, 2.0, 0.0, 2.0];
        let feedback = Feedback::new(of(&hessian, 3), 0.0, false).unwrap();
        assert_eq!(feedback.dead, 1);
        assert!(feedback.factor[1].abs() < 1e-12 && feedback.factor[5].abs() < 1e-12);
        assert!((feedback.factor[2] - 1.0).abs() < 1e-7);
        let nothing = Feedback::new(of(&[0.0; 4], 2), 0.01, true).unwrap();
        assert_eq!((nothing.dead, nothing.factor[1]), (2, 0.0));
        assert_eq!(nothing.variances, [0.0; 2]);
    }

    #[test]
    fn impossible_values_are_refused_with_their_place() {
        let refused = |values: &[f32]| Feedback::new(of(values, 2), 0.01, true).unwrap_err();
        assert!(matches!(
            refused(&[1.0, f32::NAN, 0.0, 1.0]),
            QuantizeError::StatValue { row: 0, col: 1, .. }
        ));
        assert!(matches!(
            refused(&[1.0, 0.0, 0.0, -1.0]),
            QuantizeError::StatValue { row: 1, col: 1, .. }
        ));
    }
}
