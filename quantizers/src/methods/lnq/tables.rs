//! The table step: with the labels fixed, the best entries solve a small linear system for each row.
//!
//! With `P` the one-hot matrix of a row's labels, the error changes by `P d` when the table does by `d`, so that the
//! best change solves `P^T H P d = -P^T r`, `r = H e`. Entries are rounded to f16, and a row keeps its old table where
//! the rounded one is no better; that is known from the same system.

use super::objective::Objective;
use super::strip::Strip;
use crate::codebook::nearest_f16;
use half::f16;
use multiversion::multiversion;

/// Columns summed at a time, and as many rows of the Hessian: a tile fits a core's first cache beside the sums.
const LANES: usize = 64;
/// Share of the mean diagonal added to the diagonal of the system, tried in this order.
const RIDGES: [f64; 4] = [1e-9, 1e-7, 1e-5, 1e-3];

/// What a table step did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Refit {
    /// Rows with another table.
    pub(super) moved: usize,
    /// What the objective fell by.
    pub(super) gain: f64,
}

/// Gives each row its best table where that lowers its objective. Errors and residuals stay those of the tables before.
pub(super) fn refit(strip: &mut Strip<'_>, objective: &Objective) -> Refit {
    let (entries, cols) = (strip.entries, objective.cols());
    let systems = systems(strip, objective);
    let mut done = Refit {
        moved: 0,
        gain: 0.0,
    };
    for (row, system) in systems.chunks(entries * entries).enumerate() {
        let columns = row * cols..(row + 1) * cols;
        let fixed = strip.fixed.map(|fixed| &fixed[columns.clone()]);
        let mut slope = vec![0.0; entries];
        let labels = &strip.labels[columns.clone()];
        for (at, (label, residual)) in labels.iter().zip(&strip.residuals[columns]).enumerate() {
            if !fixed.is_some_and(|fixed| fixed[at]) {
                slope[usize::from(*label)] -= f64::from(*residual);
            }
        }
        let table = &mut strip.tables[row * entries..][..entries];
        let Some(moved) = solve(system, &slope).map(|step| stepped(table, &step)) else {
            continue;
        };
        let gain = gain(system, &slope, table, &moved);
        if gain > 0.0 {
            table.copy_from_slice(&moved);
            done.moved += 1;
            done.gain += gain;
            strip.sort(row);
        }
    }
    done
}

/// The entries nearest `table + step`.
fn stepped(table: &[f16], step: &[f64]) -> Vec<f16> {
    let pairs = table.iter().zip(step);
    pairs
        .map(|(entry, step)| nearest_f16(entry.to_f64() + step))
        .collect()
}

/// What the objective falls by from `table` to `moved`: `2 d^T slope - d^T system d` for the difference `d`.
fn gain(system: &[f64], slope: &[f64], table: &[f16], moved: &[f16]) -> f64 {
    let pairs = table.iter().zip(moved);
    let steps: Vec<f64> = pairs
        .map(|(old, new)| new.to_f64() - old.to_f64())
        .collect();
    let rows = system.chunks(steps.len()).zip(slope).zip(&steps);
    rows.map(|((system, slope), step)| {
        let curved: f64 = system.iter().zip(&steps).map(|(a, b)| a * b).sum();
        step * (2.0 * slope - curved)
    })
    .sum()
}

/// `P^T H P` of all rows, `[rows, entries, entries]`. Only one triangle of `H` is read.
fn systems(strip: &Strip<'_>, objective: &Objective) -> Vec<f64> {
    let (entries, cols) = (strip.entries, objective.cols());
    let size = entries * entries;
    let by_label = ByLabel::new(strip, cols);
    let mut systems = vec![0.0; strip.rows() * size];
    let mut sums = vec![[0.0; LANES]; strip.rows() * entries];
    let mut tile = [[0.0; LANES]; LANES];
    for from in (0..cols).step_by(LANES) {
        let to = (from + LANES).min(cols);
        sums.fill([0.0; LANES]);
        for first in (from..cols).step_by(LANES) {
            // Tiles before the block had their turn with it: both together are counted when the first comes.
            let share = if first == from { 1.0 } else { 2.0 };
            for (lanes, row) in tile.iter_mut().zip(first..cols) {
                let values = &objective.hessian[row * cols + from..row * cols + to];
                for (lane, value) in lanes.iter_mut().zip(values) {
                    *lane = share * value;
                }
            }
            for (row, sums) in sums.chunks_mut(entries).enumerate() {
                let (order, counts) = by_label.of(row, first);
                add_by_label(&tile, order, counts, sums);
            }
        }
        for (row, (system, sums)) in systems
            .chunks_mut(size)
            .zip(sums.chunks(entries))
            .enumerate()
        {
            let (order, counts) = by_label.of(row, from);
            for (entry, sums) in sums.iter().enumerate() {
                let mut lanes = order.iter();
                for (label, count) in counts.iter().enumerate() {
                    let of_label = lanes.by_ref().take(usize::from(*count));
                    let sum: f32 = of_label.map(|lane| sums[usize::from(*lane) % LANES]).sum();
                    system[label * entries + entry] += f64::from(sum);
                }
            }
        }
    }
    for system in systems.chunks_mut(size) {
        for row in 0..entries {
            for col in 0..row {
                let mean = 0.5 * (system[row * entries + col] + system[col * entries + row]);
                system[row * entries + col] = mean;
                system[col * entries + row] = mean;
            }
        }
    }
    systems
}

/// The columns of each tile, row by row, in the order of their labels.
struct ByLabel {
    cols: usize,
    entries: usize,
    /// Places in the tile, `[rows, cols]`; those of fixed weights are missing at the end of their tile.
    order: Vec<u8>,
    /// How many have each label, `[rows, tiles, entries]`.
    counts: Vec<u8>,
}

impl ByLabel {
    fn new(strip: &Strip<'_>, cols: usize) -> Self {
        let entries = strip.entries;
        let tiles = cols.div_ceil(LANES);
        let mut order = vec![0; strip.labels.len()];
        let mut counts = vec![0; strip.rows() * tiles * entries];
        let mut starts = vec![0_usize; entries];
        for (row, labels) in strip.labels.chunks(cols).enumerate() {
            for (tile, labels) in labels.chunks(LANES).enumerate() {
                let first = row * cols + tile * LANES;
                let fixed = strip.fixed.map(|fixed| &fixed[first..][..labels.len()]);
                let counts = &mut counts[(row * tiles + tile) * entries..][..entries];
                let free = |at: usize| !fixed.is_some_and(|fixed| fixed[at]);
                let free = || {
                    labels
                        .iter()
                        .zip(0_u8..)
                        .filter(|(_, at)| free(usize::from(*at)))
                };
                for (label, _) in free() {
                    counts[usize::from(*label)] += 1;
                }
                let mut start = 0;
                for (first, count) in starts.iter_mut().zip(counts) {
                    *first = start;
                    start += usize::from(*count);
                }
                let order = &mut order[first..][..labels.len()];
                for (label, at) in free() {
                    let place = &mut starts[usize::from(*label)];
                    order[*place] = at;
                    *place += 1;
                }
            }
        }
        Self {
            cols,
            entries,
            order,
            counts,
        }
    }

    /// Places and counts of `row` in the tile that begins at column `first`.
    fn of(&self, row: usize, first: usize) -> (&[u8], &[u8]) {
        let tile = row * self.cols.div_ceil(LANES) + first / LANES;
        let last = (first + LANES).min(self.cols);
        (
            &self.order[row * self.cols + first..row * self.cols + last],
            &self.counts[tile * self.entries..][..self.entries],
        )
    }
}

/// Adds the rows of `tile` to the sums of their labels, whose `counts` follow each other in `order`.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512bw+avx512vl", "x86_64+avx2"))]
fn add_by_label(
    tile: &[[f32; LANES]; LANES],
    order: &[u8],
    counts: &[u8],
    sums: &mut [[f32; LANES]],
) {
    let mut order = order.iter();
    for (count, sums) in counts.iter().zip(sums) {
        // Held in registers while the rows of a label are added.
        let mut sum = *sums;
        for at in order.by_ref().take(usize::from(*count)) {
            for (sum, value) in sum.iter_mut().zip(&tile[usize::from(*at) % LANES]) {
                *sum += value;
            }
        }
        *sums = sum;
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
