//! Weight clipping: the grid of a group may end before its largest weight.
//!
//! Every group tries [`STEPS`] grids, from its full range down to a fifth of it, and one on which its
//! largest weight is a code, and takes the one with the least squared error `sum_j h_j (w_j - w'_j)^2`, where `h_j` is 1 or the mean square of
//! input `j`. Outermost weights are clipped, all
//! others land on a finer grid; at 8 bits little is gained, at 4 bits about half a bit.

use crate::grid::{Grid, Point};
use crate::tensor::Uniform;
use crate::{Granularity, MatrixRef};
use rayon::prelude::*;

/// Grids tried for every group.
const STEPS: u16 = 81;
/// Share of the range that each step takes away.
const STEP: f32 = 0.01;

/// What the clipping of a grid is chosen by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clip {
    /// Nothing is clipped.
    Nothing,
    /// Squared error of the weights.
    Mse,
    /// Squared error of the weights, each times the mean square of its input.
    InputMse,
}

impl Clip {
    /// Values of the parameter `clip`.
    pub(super) const CHOICES: [(&'static str, Self); 3] = [
        ("none", Self::Nothing),
        ("mse", Self::Mse),
        ("input_mse", Self::InputMse),
    ];
}

/// Quantizes every group of `weight` on the grid that loses least; `input_weights` are `[cols]` or
/// absent. A group of zeros keeps its full range.
pub(super) fn quantize(
    grid: Grid,
    weight: MatrixRef<'_>,
    granularity: Granularity,
    input_weights: Option<&[f32]>,
) -> Uniform {
    let (rows, cols) = (weight.rows(), weight.cols());
    let (block, group) = match granularity {
        // One block of rows is one group.
        Granularity::Tensor => (rows * cols, rows * cols),
        Granularity::Channel => (cols, cols),
        Granularity::Group(size) => (cols, size),
    };
    let mut codes = vec![0_i8; rows * cols];
    let points: Vec<Vec<Point>> = if codes.is_empty() {
        Vec::new()
    } else {
        codes
            .par_chunks_mut(block)
            .zip(weight.data().par_chunks(block))
            .map(|(codes, weights)| {
                let mut trial = vec![0_i8; group.min(block)];
                let groups = codes.chunks_mut(group).zip(weights.chunks(group));
                groups
                    .enumerate()
                    .map(|(at, (codes, weights))| {
                        let inputs = input_weights.map(|all| (all, at * group));
                        best(grid, weights, inputs, codes, &mut trial)
                    })
                    .collect()
            })
            .collect()
    };
    let points: Vec<Point> = points.into_iter().flatten().collect();
    Uniform {
        bits: grid.bits,
        granularity,
        codes,
        scales: points.iter().map(|point| point.scale).collect(),
        scale_type: grid.scale_type,
        zero_points: (!grid.symmetric)
            .then(|| points.iter().map(|point| point.zero_point).collect()),
        column_groups: None,
    }
}

/// The grid of one group; `inputs` as for [`best`].
pub(super) fn fit(grid: Grid, weights: &[f32], inputs: Option<(&[f32], usize)>) -> Point {
    let (mut codes, mut trial) = (vec![0; weights.len()], vec![0; weights.len()]);
    best(grid, weights, inputs, &mut codes, &mut trial)
}

/// The grid of one group and its codes on it; `inputs` are the weights of all columns and the
/// column of the first value.
fn best(
    grid: Grid,
    weights: &[f32],
    inputs: Option<(&[f32], usize)>,
    codes: &mut [i8],
    trial: &mut [i8],
) -> Point {
    let trial = &mut trial[..weights.len()];
    let lowest = weights.iter().copied().fold(0.0, f32::min);
    let highest = weights.iter().copied().fold(0.0, f32::max);
    let mut chosen = grid.fit(lowest, highest);
    grid.codes(weights, chosen, codes);
    let mut least = error(weights, codes, chosen, inputs);
    for share in shares(grid) {
        let point = grid.fit(lowest * share, highest * share);
        if point == chosen {
            continue;
        }
        grid.codes(weights, point, trial);
        let found = error(weights, trial, point, inputs);
        // On a tie the wider grid stays.
        if found < least {
            (least, chosen) = (found, point);
            codes.copy_from_slice(trial);
        }
    }
    chosen
}

/// Ranges tried besides the full one, as shares of it.
fn shares(grid: Grid) -> impl Iterator<Item = f32> {
    // The full range of a symmetric grid ends half a step beyond the largest code.
    let (_, largest) = grid.code_range();
    let half_range = f32::from((1_i16 << grid.bits) - 1) / 2.0;
    let exact = (grid.symmetric && largest > 0).then(|| half_range / f32::from(largest));
    (1..STEPS)
        .map(|step| 1.0 - STEP * f32::from(step))
        .chain(exact)
}

/// `sum_j h_j (w_j - w'_j)^2`.
fn error(weights: &[f32], codes: &[i8], point: Point, inputs: Option<(&[f32], usize)>) -> f64 {
    let each = weights.iter().zip(codes).map(|(&weight, &code)| {
        let difference = f64::from(weight) - f64::from(point.value(code));
        difference * difference
    });
    match inputs {
        None => each.sum(),
        Some((all, from)) => each
            .enumerate()
            .map(|(at, square)| square * f64::from(all[(from + at) % all.len()]))
            .sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FloatType;

    const GRID: Grid = Grid {
        bits: 4,
        symmetric: true,
        scale_type: FloatType::F32,
        arithmetic: FloatType::F32,
    };

    /// Many small weights and one large.
    fn spiky(cols: usize) -> Vec<f32> {
        let small = |at: usize| ((at * 37 % 101) as f32 / 50.0 - 1.0) * 0.1;
        let mut row: Vec<f32> = (0..cols).map(small).collect();
        row[3] = 0.6;
        row
    }

    fn squared(row: &[f32], uniform: &Uniform) -> f64 {
        let point = Point {
            scale: uniform.scales[0],
            zero_point: 0,
        };
        error(row, &uniform.codes, point, None)
    }

    #[test]
    fn clipping_loses_less_than_the_full_range_and_no_grid_tried_loses_less() {
        let row = spiky(1000);
        let weight = MatrixRef::new(&row, 1, row.len()).unwrap();
        let clipped = quantize(GRID, weight, Granularity::Channel, None);
        let full = GRID.quantize(weight, Granularity::Channel);
        assert!(clipped.scales[0] < 0.6 * full.scales[0]);
        let found = squared(&row, &clipped);
        assert!(found < 0.6 * squared(&row, &full), "{found}");
        for share in shares(GRID) {
            let point = GRID.fit(0.0, 0.6 * share);
            let mut codes = vec![0; row.len()];
            GRID.codes(&row, point, &mut codes);
            assert!(error(&row, &codes, point, None) >= found);
        }
    }

    #[test]
    fn inputs_that_matter_are_not_clipped() {
        let row = spiky(1000);
        let weight = MatrixRef::new(&row, 1, row.len()).unwrap();
        let mut inputs = vec![1.0; row.len()];
        inputs[3] = 1e4;
        let weighted = quantize(GRID, weight, Granularity::Channel, Some(&inputs));
        let plain = quantize(GRID, weight, Granularity::Channel, None);
        assert!((f64::from(weighted.scales[0]) * f64::from(weighted.codes[3]) - 0.6).abs() < 0.01);
        assert!(weighted.scales[0] > plain.scales[0]);
        let even = quantize(
            GRID,
            weight,
            Granularity::Channel,
            Some(&vec![2.0; row.len()]),
        );
        assert_eq!(even, plain, "one factor for all changes nothing");
    }

    #[test]
    fn groups_and_the_whole_matrix_are_searched_on_their_own() {
        let rows = [spiky(64), vec![0.0; 64]].concat();
        let weight = MatrixRef::new(&rows, 2, 64).unwrap();
        let groups = quantize(GRID, weight, Granularity::Group(48), None);
        assert_eq!(groups.scales.len(), 4);
        assert!(groups.codes[64..].iter().all(|&code| code == 0));
        let alone = MatrixRef::new(&rows[..48], 1, 48).unwrap();
        let first = quantize(GRID, alone, Granularity::Channel, None);
        assert_eq!(groups.codes[..48], first.codes);
        let tensor = quantize(GRID, weight, Granularity::Tensor, None);
        assert_eq!((tensor.scales.len(), tensor.codes.len()), (1, 128));
        assert!(
            quantize(
                GRID,
                MatrixRef::new(&[], 0, 4).unwrap(),
                Granularity::Channel,
                None
            )
            .codes
            .is_empty()
        );
    }
}
