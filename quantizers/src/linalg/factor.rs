//! The factor `H = M D M^T` of a positive definite matrix, `M` upper triangular with ones on its
//! diagonal and `D` diagonal.
//!
//! It is Cholesky's factor seen from the last row: reversed in both axes, `H` has the lower factor
//! `L`, and `M` is `L` reversed back with its columns divided by their diagonal. Column `k` of `M`
//! says how the variables before `k` change the best value of variable `k`, which is what error
//! compensation needs: no inverse of `H` is taken.

use super::product::{Strided, add_multiple, multiply};
use super::scalar::Scalar;
use rayon::prelude::*;
use thiserror::Error;

/// Rows and columns eliminated at once; what is left is updated by one product per block.
const BLOCK: usize = 128;
/// Rows of one task; a constant, so that the number of threads changes no bit.
const TASK_ROWS: usize = 128;

/// A matrix that has no factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the matrix is not positive definite at row {row}")]
pub struct NotPositive {
    /// Row of the pivot that is zero, negative or not finite.
    pub row: usize,
}

/// Replaces the upper triangle of the symmetric `[size, size]` `matrix` by `M` and returns the
/// diagonal of `D`. What is below the diagonal is neither read nor changed.
///
/// # Errors
/// A pivot that is not a positive finite number; `matrix` is half overwritten then.
///
/// # Panics
/// When `matrix` has another length.
pub fn unit_upper<T: Scalar>(matrix: &mut [T], size: usize) -> Result<Vec<T>, NotPositive> {
    assert_eq!(matrix.len(), size * size, "a square matrix");
    let mut diagonal = vec![T::ZERO; size];
    let before: Vec<T> = (0..size).map(|i| matrix[i * size + i]).collect();
    let mut panel = vec![T::ZERO; size * BLOCK];
    let mut end = size;
    while end > 0 {
        // Whole blocks but for the first, which is the last one reached.
        let start = (end - 1) / BLOCK * BLOCK;
        let width = end - start;
        let mut corner: Vec<T> = (start..end)
            .flat_map(|row| &matrix[row * size + start..row * size + end])
            .copied()
            .collect();
        factor_corner(&mut corner, &before[start..end])
            .map_err(|row| NotPositive { row: start + row })?;
        let inverse = invert_upper(&corner, width);
        let panel = &mut panel[..start * width];
        columns_left(matrix, size, (start, end), &inverse, panel);
        subtract_square(matrix, size, panel, width);
        let roots: Vec<T> = (0..width).map(|i| corner[i * width + i]).collect();
        for (diagonal, root) in diagonal[start..end].iter_mut().zip(&roots) {
            *diagonal = *root * *root;
        }
        for (row, out) in matrix.chunks_mut(size).take(end).enumerate() {
            let out = &mut out[start..end];
            let (values, first) = match row.checked_sub(start) {
                None => (&panel[row * width..], 0),
                Some(row) => (&corner[row * width..], row),
            };
            for ((out, value), root) in out.iter_mut().zip(values).zip(&roots).skip(first) {
                *out = *value / *root;
            }
        }
        end = start;
    }
    Ok(diagonal)
}

/// The inverse of an upper triangular `[size, size]` matrix; zeros below the diagonal, which is not
/// read there.
///
/// # Panics
/// When `upper` has another length.
pub fn invert_upper<T: Scalar>(upper: &[T], size: usize) -> Vec<T> {
    assert_eq!(upper.len(), size * size, "a square matrix");
    let mut inverse = vec![T::ZERO; size * size];
    for row in (0..size).rev() {
        let (out, below) = inverse[row * size..].split_at_mut(size);
        out[row] = T::ONE;
        for (at, below) in below.chunks(size).enumerate() {
            let from = row + 1 + at;
            let factor = upper[row * size + from];
            for (out, value) in out[from..].iter_mut().zip(&below[from..]) {
                *out = *out - factor * *value;
            }
        }
        let root = upper[row * size + row];
        for out in &mut out[row..] {
            *out = *out / root;
        }
    }
    inverse
}

/// Replaces the upper triangle of a small matrix by `R` of `R R^T`, column by column from the last;
/// the row of a bad pivot otherwise: one that is no more than rounding leaves of `before`, the diagonal of the
/// whole matrix there.
fn factor_corner<T: Scalar>(corner: &mut [T], before: &[T]) -> Result<(), usize> {
    let width = before.len();
    let mut column = vec![T::ZERO; width];
    for pivot in (0..width).rev() {
        let square = corner[pivot * width + pivot];
        let least = before[pivot] * T::NEGLIGIBLE;
        if !(square.finite() && square > T::ZERO && square > least) {
            return Err(pivot);
        }
        let root = square.root();
        corner[pivot * width + pivot] = root;
        for row in 0..pivot {
            column[row] = corner[row * width + pivot] / root;
            corner[row * width + pivot] = column[row];
        }
        for (row, out) in corner.chunks_mut(width).take(pivot).enumerate() {
            let factor = column[row];
            for (out, value) in out[row..pivot].iter_mut().zip(&column[row..pivot]) {
                *out = *out - factor * *value;
            }
        }
    }
    Ok(())
}

/// `panel = matrix[..start, start..end] * inverse^T`: the factor above a corner.
fn columns_left<T: Scalar>(
    matrix: &[T],
    size: usize,
    (start, end): (usize, usize),
    inverse: &[T],
    panel: &mut [T],
) {
    let width = end - start;
    let right = Strided::row_major(inverse, width).transposed();
    panel
        .par_chunks_mut(TASK_ROWS * width)
        .enumerate()
        .for_each(|(task, out)| {
            let first = task * TASK_ROWS;
            let rows = out.len() / width;
            let left = Strided::new(&matrix[first * size + start..], rows, width, size, 1);
            multiply(left, right, out, width, false);
        });
}

/// `matrix -= panel * panel^T` in the upper triangle of its first rows and columns.
fn subtract_square<T: Scalar>(matrix: &mut [T], size: usize, panel: &[T], width: usize) {
    let left = panel.len() / width;
    let factor = Strided::row_major(panel, width);
    matrix[..left * size]
        .par_chunks_mut(TASK_ROWS * size)
        .enumerate()
        .for_each(|(task, out)| {
            let first = task * TASK_ROWS;
            let rows = factor.slice_rows(first, first + out.len() / size);
            let columns = factor.slice_rows(first, left).transposed();
            add_multiple(T::MINUS_ONE, rows, columns, &mut out[first..], size);
        });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A positive definite matrix with all its eigenvalues at least 1.
    fn definite(size: usize) -> Vec<f64> {
        let wave = |at: usize| ((at * 37 % 101) as f64 / 50.0 - 1.0).sin();
        let factor: Vec<f64> = (0..size * size).map(|at| wave(at * at)).collect();
        let mut matrix = vec![0.0; size * size];
        let view = Strided::row_major(&factor, size);
        multiply(view, view.transposed(), &mut matrix, size, false);
        for row in 0..size {
            matrix[row * size + row] += 1.0;
        }
        matrix
    }

    #[test]
    fn three_rows_worked_by_hand() {
        // M = [1 2 3; 0 1 4; 0 0 1], D = (2, 3, 5): H = M D M^T.
        let mut matrix = [59.0, 66.0, 15.0, 66.0, 83.0, 20.0, 15.0, 20.0, 5.0_f64];
        let diagonal = unit_upper(&mut matrix, 3).unwrap();
        let near = |found: &[f64], expected: &[f64]| {
            found
                .iter()
                .zip(expected)
                .all(|(a, b)| (a - b).abs() < 1e-12)
        };
        assert!(near(&diagonal, &[2.0, 3.0, 5.0]), "{diagonal:?}");
        assert!(
            near(&matrix, &[1.0, 2.0, 3.0, 66.0, 1.0, 4.0, 15.0, 20.0, 1.0]),
            "{matrix:?}"
        );
        let inverse = invert_upper(&[1.0, 2.0, 3.0, 9.0, 1.0, 4.0, 9.0, 9.0, 2.0], 3);
        assert!(
            near(&inverse, &[1.0, -2.0, 2.5, 0.0, 1.0, -2.0, 0.0, 0.0, 0.5]),
            "{inverse:?}"
        );
    }

    #[test]
    fn the_factor_multiplies_back_over_several_blocks() {
        for size in [1, 5, BLOCK, BLOCK + 1, 3 * BLOCK + 17] {
            let matrix = definite(size);
            let mut factor = matrix.clone();
            let diagonal = unit_upper(&mut factor, size).unwrap();
            let largest = matrix.iter().fold(0.0, |most: f64, v| most.max(v.abs()));
            for row in 0..size {
                for col in row..size {
                    let sum: f64 = (col..size)
                        .map(|k| factor[row * size + k] * diagonal[k] * factor[col * size + k])
                        .sum();
                    assert!((sum - matrix[row * size + col]).abs() < 1e-10 * largest);
                }
            }
        }
    }

    #[test]
    fn one_thread_and_four_give_the_same_bits() {
        let size = 2 * BLOCK + 40;
        let matrix = definite(size);
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            let mut factor = matrix.clone();
            let diagonal = pool
                .build()
                .unwrap()
                .install(|| unit_upper(&mut factor, size));
            (factor, diagonal)
        };
        assert_eq!(with(1), with(4));
    }

    #[test]
    fn a_matrix_without_a_factor_says_where() {
        let mut matrix = vec![0.0_f32; 200 * 200];
        for row in 0..200 {
            matrix[row * 200 + row] = if row == 7 { -1.0 } else { 2.0 };
        }
        assert_eq!(unit_upper(&mut matrix, 200), Err(NotPositive { row: 7 }));
        assert_eq!(unit_upper(&mut [f64::NAN], 1), Err(NotPositive { row: 0 }));
    }
}
