//! Scales fitted again once the streams are found: they are stored anyway, so that their best values cost nothing.
//!
//! With `q` the decoded matrix, the scale of an output is best multiplied by `q_o H w_o^T / q_o H q_o^T`, and those of
//! the inputs by the solution of `((Q^T Q) * H) r = diag(Q^T W H)`, `*` element by element.

use super::rotation::Rotation;
use crate::MatrixRef;
use crate::error_metrics::Deviation;
use crate::linalg::factor::unit_upper;
use crate::linalg::product::{Strided, product};
use half::f16;
use rayon::prelude::*;

/// Times that the factors of outputs and of inputs are found, in turn.
const ROUNDS: usize = 2;
/// What is added to the diagonal of the equations for the inputs, over its mean.
const DAMPING: f64 = 1e-6;

/// Errors of the outputs of a layer over their energy.
pub(super) struct Fitted {
    /// With the scales that its weights were rounded under.
    pub(super) before: f64,
    /// With those fitted to the streams.
    pub(super) after: f64,
}

/// Replaces the scales of `rotation` by better ones for `basis` `[rows, cols]`, what the streams decode to without
/// scales. What does not make the error smaller is not kept.
///
/// # Panics
/// When `basis` has another length than `weight`.
pub(super) fn fit(
    weight: MatrixRef<'_>,
    hessian: MatrixRef<'_>,
    basis: &[f32],
    rotation: &mut Rotation,
) -> Fitted {
    let cols = weight.cols();
    let error =
        |decoded: &[f32]| Deviation::of_outputs(weight, alike(decoded, weight), hessian).relative();
    let mut decoded = scaled(basis, cols, rotation);
    let before = error(&decoded);
    let mut after = before;
    for round in 0..2 * ROUNDS {
        let of_inputs = round % 2 == 1;
        let current = alike(&decoded, weight);
        let mut next = rotation.clone();
        let factors = if of_inputs {
            inputs(weight, current, hessian)
        } else {
            Some(outputs(weight, current, hessian))
        };
        let scales = if of_inputs {
            &mut next.inputs
        } else {
            &mut next.outputs
        };
        for (scale, factor) in scales.iter_mut().zip(factors.into_iter().flatten()) {
            *scale = f16::from_f64(scale.to_f64() * factor);
        }
        let candidate = scaled(basis, cols, &next);
        let found = error(&candidate);
        if found < after {
            (*rotation, decoded, after) = (next, candidate, found);
        }
    }
    Fitted { before, after }
}

/// `values` as a matrix of the shape of `weight`.
fn alike<'a>(values: &'a [f32], weight: MatrixRef<'_>) -> MatrixRef<'a> {
    MatrixRef::new(values, weight.rows(), weight.cols()).expect("as long as the weight")
}

/// `basis` with the scales of `rotation`.
fn scaled(basis: &[f32], cols: usize, rotation: &Rotation) -> Vec<f32> {
    let inputs: Vec<f32> = rotation.inputs.iter().map(|scale| scale.to_f32()).collect();
    let mut scaled = basis.to_vec();
    for (row, output) in scaled.chunks_mut(cols).zip(&rotation.outputs) {
        let output = output.to_f32();
        for (value, input) in row.iter_mut().zip(&inputs) {
            *value = *value * input * output;
        }
    }
    scaled
}

/// Factors for the outputs of `decoded`, `[rows]`; 1 where an output has no values.
fn outputs(weight: MatrixRef<'_>, decoded: MatrixRef<'_>, hessian: MatrixRef<'_>) -> Vec<f64> {
    let cols = weight.cols();
    let moments = Strided::row_major(hessian.data(), cols);
    let through = product(Strided::row_major(decoded.data(), cols), moments);
    let rows = through.par_chunks(cols).enumerate();
    rows.map(|(row, through)| {
        let of = |values: &[f32]| -> f64 {
            let pairs = values.iter().zip(through);
            pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
        };
        let (wanted, found) = (of(weight.row(row)), of(decoded.row(row)));
        if found > 0.0 { wanted / found } else { 1.0 }
    })
    .collect()
}

/// Factors for the inputs of `decoded`, `[cols]`; nothing where the equations have no solution.
fn inputs(
    weight: MatrixRef<'_>,
    decoded: MatrixRef<'_>,
    hessian: MatrixRef<'_>,
) -> Option<Vec<f64>> {
    let cols = weight.cols();
    let moments = Strided::row_major(hessian.data(), cols);
    let values = Strided::row_major(decoded.data(), cols);
    let mut matrix: Vec<f64> = product(values.transposed(), values)
        .par_iter()
        .zip(hessian.data())
        .map(|(a, b)| f64::from(*a) * f64::from(*b))
        .collect();
    let wanted = product(Strided::row_major(weight.data(), cols), moments);
    let mut right = vec![0.0; cols];
    for (wanted, found) in wanted.chunks(cols).zip(decoded.data().chunks(cols)) {
        for ((sum, a), b) in right.iter_mut().zip(wanted).zip(found) {
            *sum += f64::from(*a) * f64::from(*b);
        }
    }
    let mean = matrix.iter().step_by(cols + 1).sum::<f64>() / cols as f64;
    for at in 0..cols {
        matrix[at * cols + at] += DAMPING * mean;
        // A factor of 1 is as good as any other where nothing depends on it.
        right[at] += DAMPING * mean;
    }
    let diagonal = unit_upper(&mut matrix, cols).ok()?;
    let solved = solve(&matrix, &diagonal, right);
    solved
        .iter()
        .all(|factor| factor.is_finite())
        .then_some(solved)
}

/// The solution of `M D M^T x = right` with `M` unit upper triangular.
fn solve(upper: &[f64], diagonal: &[f64], mut right: Vec<f64>) -> Vec<f64> {
    let size = diagonal.len();
    for row in (0..size).rev() {
        let behind = &upper[row * size + row + 1..(row + 1) * size];
        let known = behind.iter().zip(&right[row + 1..]).map(|(a, b)| a * b);
        right[row] -= known.sum::<f64>();
    }
    for (value, diagonal) in right.iter_mut().zip(diagonal) {
        *value /= diagonal;
    }
    for row in 0..size {
        let (done, behind) = right.split_at_mut(row + 1);
        let factors = &upper[row * size + row + 1..(row + 1) * size];
        for (value, factor) in behind.iter_mut().zip(factors) {
            *value -= factor * done[row];
        }
    }
    right
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_equations_worked_by_hand() {
        // M = [1 2 3; 0 1 4; 0 0 1], D = (2, 3, 5), x = (1, -1, 2): M D M^T = [59 66 15; 66 83 20; 15 20 5].
        let upper = [1.0, 2.0, 3.0, 0.0, 1.0, 4.0, 0.0, 0.0, 1.0];
        let found = solve(&upper, &[2.0, 3.0, 5.0], vec![23.0, 23.0, 5.0]);
        for (found, expected) in found.iter().zip([1.0, -1.0, 2.0]) {
            assert!((found - expected).abs() < 1e-12, "{found}");
        }
    }

    #[test]
    fn scales_that_were_changed_are_found_again() {
        let wave = |at: usize| ((at * 37 % 101) as f32 / 50.0 - 1.0).sin();
        let (rows, cols) = (12, 8);
        let data: Vec<f32> = (0..rows * cols).map(|at| wave(at * at)).collect();
        let inputs_seen: Vec<f32> = (0..40 * cols).map(|at| wave(at * at + 3)).collect();
        let seen = Strided::row_major(&inputs_seen, cols);
        let hessian = product(seen.transposed(), seen);
        let hessian = MatrixRef::new(&hessian, cols, cols).unwrap();
        let weight = MatrixRef::new(&data, rows, cols).unwrap();
        let halved: Vec<f32> = data.iter().map(|value| value / 2.0).collect();
        let halved = MatrixRef::new(&halved, rows, cols).unwrap();
        let near = |found: &[f64], expected: f64| {
            found.iter().all(|factor| (factor - expected).abs() < 1e-3)
        };
        assert!(near(&outputs(weight, halved, hessian), 2.0));
        let found = inputs(weight, halved, hessian).unwrap();
        assert!(near(&found, 2.0), "{found:?}");
    }
}
