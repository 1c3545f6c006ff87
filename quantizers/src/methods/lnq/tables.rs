//! The table step: with the labels fixed, the best entries solve a small linear system for each row.
//!
//! With `P` the one-hot matrix of a row's labels, the error changes by `P d` when the table does by `d`, so that the
//! best change solves `P^T H P d = -P^T r`, `r = H e`. Entries are rounded to f16, and a row keeps its old table where
//! the rounded one is no better.

use super::objective::Objective;
use super::strip::{Strip, dot, products};
use crate::codebook::nearest_f16;
use multiversion::multiversion;

/// Columns summed at a time.
const LANES: usize = 64;
/// Share of the mean diagonal added to the diagonal of the system, tried in this order.
const RIDGES: [f64; 4] = [1e-9, 1e-7, 1e-5, 1e-3];

/// Gives each row its best table where that lowers its objective; how many rows it did for.
pub(super) fn refit(strip: &mut Strip<'_>, objective: &Objective) -> usize {
    let (entries, cols) = (strip.entries, objective.cols());
    let tables = refitted(strip, objective);
    let errors = strip.errors_with(&tables);
    let residuals = products(&errors, objective);
    let mut moved = 0;
    for (row, table) in tables.chunks(entries).enumerate() {
        let columns = row * cols..(row + 1) * cols;
        let (errors, residuals) = (&errors[columns.clone()], &residuals[columns.clone()]);
        let (old_errors, old_residuals) = (
            &mut strip.errors[columns.clone()],
            &mut strip.residuals[columns],
        );
        if dot(errors, residuals) < dot(old_errors, old_residuals) {
            moved += 1;
            old_errors.copy_from_slice(errors);
            old_residuals.copy_from_slice(residuals);
            strip.tables[row * entries..][..entries].copy_from_slice(table);
            strip.sort(row);
        }
    }
    moved
}

/// Better tables for all rows, `[rows, entries]`; where the system of a row has no solution it is the old one.
fn refitted(strip: &Strip<'_>, objective: &Objective) -> Vec<half::f16> {
    let (entries, cols) = (strip.entries, objective.cols());
    let systems = systems(strip, objective);
    let mut tables = strip.tables.to_vec();
    let tables_of_rows = tables.chunks_mut(entries);
    for (row, (table, system)) in tables_of_rows
        .zip(systems.chunks(entries * entries))
        .enumerate()
    {
        let columns = row * cols..(row + 1) * cols;
        let mut slope = vec![0.0; entries];
        let labels = &strip.labels[columns.clone()];
        for (at, (label, residual)) in labels.iter().zip(&strip.residuals[columns]).enumerate() {
            if !strip.is_fixed(row * cols + at) {
                slope[usize::from(*label)] -= f64::from(*residual);
            }
        }
        if let Some(step) = solve(system, &slope) {
            for (entry, step) in table.iter_mut().zip(step) {
                *entry = nearest_f16(entry.to_f64() + step);
            }
        }
    }
    tables
}

/// `P^T H P` of all rows, `[rows, entries, entries]`. Only one triangle of `H` is read.
fn systems(strip: &Strip<'_>, objective: &Objective) -> Vec<f64> {
    let (entries, cols) = (strip.entries, objective.cols());
    let mut systems = vec![0.0; strip.rows() * entries * entries];
    // Sums over the labels of the columns from a block on; what lies before the block is the mirror of it.
    let (mut inside, mut after) = (vec![0.0; entries * LANES], vec![0.0; entries * LANES]);
    for from in (0..cols).step_by(LANES) {
        let to = (from + LANES).min(cols);
        for (row, system) in systems.chunks_mut(entries * entries).enumerate() {
            let labels = &strip.labels[row * cols..(row + 1) * cols];
            let fixed = strip
                .fixed
                .map(|fixed| &fixed[row * cols..(row + 1) * cols]);
            for (sums, columns) in [(&mut inside, (from, to)), (&mut after, (to, cols))] {
                sums.fill(0.0);
                if columns.0 == columns.1 {
                    continue;
                }
                let hessian = &objective.hessian[columns.0 * cols + from..];
                let labels = &labels[columns.0..columns.1];
                let fixed = fixed.map(|fixed| &fixed[columns.0..columns.1]);
                sum_by_label(hessian, cols, to - from, labels, fixed, sums);
            }
            for (at, label) in labels[from..to].iter().enumerate() {
                if fixed.is_some_and(|fixed| fixed[from + at]) {
                    continue;
                }
                let label = usize::from(*label);
                for entry in 0..entries {
                    let mirrored = f64::from(after[entry * LANES + at]);
                    system[entry * entries + label] +=
                        f64::from(inside[entry * LANES + at]) + mirrored;
                    system[label * entries + entry] += mirrored;
                }
            }
        }
    }
    systems
}

/// `sums[labels[j]] += hessian[j]` for the first `width` values of rows every `stride` values; `sums` is
/// `[entries, LANES]`.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512bw+avx512vl", "x86_64+avx2"))]
fn sum_by_label(
    hessian: &[f32],
    stride: usize,
    width: usize,
    labels: &[u8],
    fixed: Option<&[bool]>,
    sums: &mut [f32],
) {
    for (at, label) in labels.iter().enumerate() {
        if fixed.is_some_and(|fixed| fixed[at]) {
            continue;
        }
        let values = &hessian[at * stride..][..width];
        let sums = &mut sums[usize::from(*label) * LANES..][..LANES];
        if let (Some(values), Some(sums)) = (
            values.first_chunk::<LANES>(),
            sums.first_chunk_mut::<LANES>(),
        ) {
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum += value;
            }
        } else {
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum += value;
            }
        }
    }
}

/// The solution of a symmetric positive semidefinite system, with as small a ridge as it takes; an entry without
/// labels stays where it is.
fn solve(system: &[f64], right: &[f64]) -> Option<Vec<f64>> {
    let size = right.len();
    let trace: f64 = (0..size).map(|at| system[at * size + at]).sum();
    let mean = trace / size as f64;
    if !(mean.is_finite() && mean > 0.0) {
        return None;
    }
    RIDGES
        .iter()
        .find_map(|ridge| cholesky_solve(system, right, ridge * mean))
}

/// The solution by Cholesky's factor of the system with `ridge` on its diagonal.
fn cholesky_solve(system: &[f64], right: &[f64], ridge: f64) -> Option<Vec<f64>> {
    let size = right.len();
    let mut factor = vec![0.0; size * size];
    for row in 0..size {
        for col in 0..=row {
            let before: f64 = (0..col)
                .map(|k| factor[row * size + k] * factor[col * size + k])
                .sum();
            let value = system[row * size + col] - before;
            factor[row * size + col] = if row == col {
                let square = value + ridge;
                if !(square.is_finite() && square > 0.5 * ridge) {
                    return None;
                }
                square.sqrt()
            } else {
                value / factor[col * size + col]
            };
        }
    }
    let mut solution = right.to_vec();
    for row in 0..size {
        let before: f64 = (0..row).map(|k| factor[row * size + k] * solution[k]).sum();
        solution[row] = (solution[row] - before) / factor[row * size + row];
    }
    for row in (0..size).rev() {
        let after: f64 = (row + 1..size)
            .map(|k| factor[k * size + row] * solution[k])
            .sum();
        solution[row] = (solution[row] - after) / factor[row * size + row];
    }
    solution
        .iter()
        .all(|value| value.is_finite())
        .then_some(solution)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_worked_by_hand() {
        // [4 2; 2 3] x = [8, 7]: x = (1.25, 1.5). The third entry has no labels.
        let system = [4.0, 2.0, 0.0, 2.0, 3.0, 0.0, 0.0, 0.0, 0.0];
        let found = solve(&system, &[8.0, 7.0, 0.0]).unwrap();
        for (found, expected) in found.iter().zip([1.25, 1.5, 0.0]) {
            assert!((found - expected).abs() < 1e-7, "{found}");
        }
        assert!(solve(&[0.0; 4], &[0.0; 2]).is_none());
        assert!(solve(&[1.0, 2.0, 2.0, 1.0], &[1.0, 0.0]).is_none());
    }
}
