//! Weight clipping: the grid of a group may end before its largest weight.
//!
//! Every group tries [`STEPS`] grids, from its full range down to a fifth of it, and one on which its
//! largest weight is a code, and takes the one with the least squared error `sum_j h_j (w_j - w'_j)^2`, where `h_j` is 1 or the mean square of
//! input `j`. Outermost weights are clipped, all
//! others land on a finer grid; at 8 bits little is gained, at 4 bits about half a bit.
//!
//! A search may also refit the scale of each grid it tries to the codes there, `s = sum_j h_j w_j q_j / sum_j h_j q_j^2`,
//! as llama.cpp does with an importance matrix.

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
/// absent. A group of zeros keeps its full range. With `refit` the scale of every grid is also tried as least
/// squares has it for the codes there.
pub(super) fn quantize(
    grid: Grid,
    weight: MatrixRef<'_>,
    granularity: Granularity,
    input_weights: Option<&[f32]>,
    refit: bool,
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
                        best(grid, weights, (inputs, refit), codes, &mut trial)
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
        float_zero_points: None,
        column_groups: None,
    }
}

/// The grid of one group; `inputs` as for [`best`].
pub(super) fn fit(grid: Grid, weights: &[f32], inputs: Option<(&[f32], usize)>) -> Point {
    let (mut codes, mut trial) = (vec![0; weights.len()], vec![0; weights.len()]);
    best(grid, weights, (inputs, false), &mut codes, &mut trial)
}

/// The grid of one group and its codes on it; `inputs` are the weights of all columns and the
/// column of the first value, `refit` as for [`quantize`].
fn best(
    grid: Grid,
    weights: &[f32],
    (inputs, refit): (Option<(&[f32], usize)>, bool),
    codes: &mut [i8],
    trial: &mut [i8],
) -> Point {
    let trial = &mut trial[..weights.len()];
    let lowest = weights.iter().copied().fold(0.0, f32::min);
    let highest = weights.iter().copied().fold(0.0, f32::max);
    let mut chosen = grid.fit(lowest, highest);
    grid.codes(weights, chosen, codes);
    let mut least = error(weights, codes, chosen, inputs);
    let mut offer = |point: Point, trial: &mut [i8]| {
        if point == chosen {
            return;
        }
        grid.codes(weights, point, trial);
        let found = error(weights, trial, point, inputs);
        // On a tie the wider grid stays.
        if found < least {
            (least, chosen) = (found, point);
            codes.copy_from_slice(trial);
        }
    };
    for share in std::iter::once(1.0).chain(shares(grid)) {
        let point = grid.fit(lowest * share, highest * share);
        offer(point, trial);
        if refit {
            grid.codes(weights, point, trial);
            if let Some(point) = refitted(grid, weights, trial, point, inputs) {
                offer(point, trial);
            }
        }
    }
    chosen
}

/// `point` with the scale that least squares has for `codes`, as it is stored; none where there is no such scale.
fn refitted(
    grid: Grid,
    weights: &[f32],
    codes: &[i8],
    point: Point,
    inputs: Option<(&[f32], usize)>,
) -> Option<Point> {
    let (mut with_weight, mut with_itself) = (0.0, 0.0);
    for (at, (weight, code)) in weights.iter().zip(codes).enumerate() {
        let steps = f64::from(i16::from(*code) - i16::from(point.zero_point));
        let importance = inputs.map_or(1.0, |(all, from)| f64::from(all[(from + at) % all.len()]));
        with_weight += importance * f64::from(*weight) * steps;
        with_itself += importance * steps * steps;
    }
    #[expect(clippy::cast_possible_truncation, reason = "scales are f32 at most")]
    let scale = grid.scale_type.round((with_weight / with_itself) as f32);
    (scale.is_normal() && scale > 0.0).then_some(Point { scale, ..point })
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
        let clipped = quantize(GRID, weight, Granularity::Channel, None, false);
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
        let weighted = quantize(GRID, weight, Granularity::Channel, Some(&inputs), false);
        let plain = quantize(GRID, weight, Granularity::Channel, None, false);
        assert!((f64::from(weighted.scales[0]) * f64::from(weighted.codes[3]) - 0.6).abs() < 0.01);
        assert!(weighted.scales[0] > plain.scales[0]);
        let even = quantize(
            GRID,
            weight,
            Granularity::Channel,
            Some(&vec![2.0; row.len()]),
            false,
        );
        assert_eq!(even, plain, "one factor for all changes nothing");
    }

    #[test]
    fn a_refitted_scale_loses_no_more_and_a_grid_of_the_weights_is_found() {
        let row = spiky(1000);
        let inputs: Vec<f32> = (0..1000).map(|at| 0.1 + (at % 17) as f32).collect();
        let weight = MatrixRef::new(&row, 1, row.len()).unwrap();
        let lost = |refit| {
            let found = quantize(GRID, weight, Granularity::Channel, Some(&inputs), refit);
            let point = Point {
                scale: found.scales[0],
                zero_point: 0,
            };
            error(&row, &found.codes, point, Some((&inputs, 0)))
        };
        assert!(lost(true) < lost(false), "{} {}", lost(true), lost(false));
        // Multiples of a step that no share of the range has.
        let exact: Vec<f32> = (0..64)
            .map(|at| 0.0137 * ((at * 5 % 15) as f32 - 7.0))
            .collect();
        let weight = MatrixRef::new(&exact, 1, 64).unwrap();
        let found = quantize(GRID, weight, Granularity::Channel, None, true);
        assert!((found.scales[0] - 0.0137).abs() < 1e-8);
    }

    #[test]
    fn groups_and_the_whole_matrix_are_searched_on_their_own() {
        let rows = [spiky(64), vec![0.0; 64]].concat();
        let weight = MatrixRef::new(&rows, 2, 64).unwrap();
        let groups = quantize(GRID, weight, Granularity::Group(48), None, false);
        assert_eq!(groups.scales.len(), 4);
        assert!(groups.codes[64..].iter().all(|&code| code == 0));
        let alone = MatrixRef::new(&rows[..48], 1, 48).unwrap();
        let first = quantize(GRID, alone, Granularity::Channel, None, false);
        assert_eq!(groups.codes[..48], first.codes);
        let tensor = quantize(GRID, weight, Granularity::Tensor, None, false);
        assert_eq!((tensor.scales.len(), tensor.codes.len()), (1, 128));
        assert!(
            quantize(
                GRID,
                MatrixRef::new(&[], 0, 4).unwrap(),
                Granularity::Channel,
                None,
                false
            )
            .codes
            .is_empty()
        );
    }
}
