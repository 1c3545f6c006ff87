//! The fit of a whole matrix: tables in parallel, several starts each.

use super::block::{Fitted, Rows};
use super::levels::Levels;
use super::scales::StoredScales;
use super::start::{TableChoice, general};
use super::sums::inverse;
use crate::MatrixRef;
use crate::methods::QuantizeError;
use crate::tensor::{Codebook, Granularity, TableScales};
use half::f16;
use rayon::prelude::*;

/// Rounds at most.
const ROUNDS: usize = 14;
/// Rounds every start gets before the best is taken further.
const TRIAL_ROUNDS: usize = 2;
/// Rounds in which groups try scales away from their own.
const SEARCH_ROUNDS: [usize; 3] = [3, 6, 10];
/// A round that lowers the error by a smaller share is the last.
const LEAST_GAIN: f64 = 1e-5;
/// What a weight without importance counts where its whole group has none, as a share of the mean.
const LEAST_IMPORTANCE: f32 = 1e-6;

/// What the squared errors of a fit are weighted with.
#[derive(Debug, Clone, Copy)]
pub enum Importance<'a> {
    /// All alike.
    Equal,
    /// One weight for each input, `[cols]`: mean squares of the inputs, for example.
    PerInput(&'a [f32]),
    /// One weight for each weight, `[rows, cols]`: diagonal Fisher, for example.
    PerWeight(MatrixRef<'a>),
}

/// What is shared, and how it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScaledLayout {
    /// Width of one index, 1 to 8.
    pub bits: u8,
    /// Number of tables, a divisor of the rows.
    pub tables: usize,
    /// Scale granularity: [`Granularity::Channel`] or [`Granularity::Group`].
    pub granularity: Granularity,
    /// Width of one scale: 16 for f16, 2 to 8 for codes times an f16 of the row.
    pub scale_bits: u8,
    /// Where the entries come from.
    pub table: TableChoice,
}

/// A fitted codebook, and how its error fell.
#[derive(Debug, Clone, PartialEq)]
pub struct ScaledFit {
    /// Indices, tables and scales.
    pub codebook: Codebook,
    /// Weighted squared error of each table after each round, up to a factor that all share.
    pub history: Vec<Vec<f64>>,
}

/// Fits tables and scales of `layout` to `weight`. Weights marked in `removed` `[rows * cols]` count nowhere.
/// The result does not depend on the number of threads. `weight` must be finite, `importance` also not negative.
///
/// # Errors
/// A weight outside the range of f16 that has not been removed.
///
/// # Panics
/// When shapes disagree, widths are out of range, or `layout.tables` does not divide the rows.
pub fn fit_scaled(
    weight: MatrixRef<'_>,
    importance: Importance<'_>,
    removed: Option<&[bool]>,
    layout: ScaledLayout,
) -> Result<ScaledFit, QuantizeError> {
    let (rows, cols) = (weight.rows(), weight.cols());
    assert!((1..=8).contains(&layout.bits), "an index has 1 to 8 bits");
    assert!(
        layout.tables > 0 && rows.is_multiple_of(layout.tables),
        "tables of equally many rows"
    );
    require_half_range(weight, removed)?;
    let size = layout.granularity.group_size(cols);
    let weights = weights(weight, importance, removed, size);
    let mut codebook = Codebook {
        bits: layout.bits,
        indices: vec![0; rows * cols],
        tables: Vec::new(),
        scales: None,
    };
    if rows * cols == 0 {
        codebook.tables = vec![f16::ZERO; layout.tables << layout.bits];
        let groups = layout.granularity.groups_per_row(cols);
        let scales = StoredScales::new(layout.scale_bits, rows, groups);
        codebook.scales = Some(scales.into_tensor(layout.granularity));
        return Ok(ScaledFit {
            codebook,
            history: Vec::new(),
        });
    }
    let fixed = layout.table.fixed();
    let starts = fixed.map_or_else(|| general(layout.bits), |table| vec![table]);
    let together = rows / layout.tables * cols;
    let work = codebook.indices.par_chunks_mut(together);
    let work = work.zip(weight.data().par_chunks(together));
    let work = work.zip(weights.par_chunks(together));
    let fitted: Vec<Fitted> = work
        .map(|((indices, values), weights)| {
            let rows = Rows {
                values,
                weights,
                cols,
                size,
            };
            let fitted = fit_rows(rows, layout, &starts);
            take_nearest(rows, &fitted.levels, &fitted.scales.values, indices);
            fitted
        })
        .collect();
    let (mut history, mut scales) = (Vec::new(), None::<StoredScales>);
    for fitted in fitted {
        codebook.tables.extend(fitted.table);
        history.push(fitted.history);
        match &mut scales {
            None => scales = Some(fitted.scales),
            Some(scales) => scales.append(fitted.scales),
        }
    }
    let tensor = |scales: StoredScales| -> TableScales { scales.into_tensor(layout.granularity) };
    codebook.scales = scales.map(tensor);
    Ok(ScaledFit { codebook, history })
}

/// Fits the table of `rows` and their scales, from each of `tables` and one of its own.
fn fit_rows(rows: Rows<'_>, layout: ScaledLayout, tables: &[Vec<f16>]) -> Fitted {
    let start = |table| Fitted::start(rows, table, layout.scale_bits);
    let is_fixed = layout.table.fixed_bits().is_some();
    let mut starts: Vec<Fitted> = tables.iter().cloned().map(start).collect();
    if !is_fixed {
        let optimal = starts[0].optimal_table(rows, layout.bits);
        starts.push(start(optimal));
    }
    for fitted in &mut starts {
        for _ in 0..TRIAL_ROUNDS {
            fitted.round(rows, false, is_fixed);
        }
    }
    let mut best = starts.swap_remove(0);
    for other in starts {
        if other.error() < best.error() {
            best = other;
        }
    }
    for round in TRIAL_ROUNDS..ROUNDS {
        let before = best.error();
        best.round(rows, SEARCH_ROUNDS.contains(&round), is_fixed);
        let settled = before - best.error() <= LEAST_GAIN * before;
        if settled && round > SEARCH_ROUNDS[SEARCH_ROUNDS.len() - 1] {
            break;
        }
    }
    best
}

/// Indices of the entries nearest the weights.
fn take_nearest(rows: Rows<'_>, levels: &Levels, scales: &[f32], indices: &mut [u8]) {
    let per_row = rows.cols.div_ceil(rows.size);
    let values = rows.values.par_chunks(rows.cols);
    let work = values.zip(indices.par_chunks_mut(rows.cols)).enumerate();
    work.for_each(|(row, (values, indices))| {
        let pairs = values.chunks(rows.size).zip(indices.chunks_mut(rows.size));
        for ((values, indices), scale) in pairs.zip(&scales[row * per_row..]) {
            levels.indices(values, inverse(*scale), indices);
        }
    });
}

/// Weights of the squared errors `[rows, cols]`: mean 1, 0 where removed, and a little where a group of `size` has
/// none at all.
fn weights(
    weight: MatrixRef<'_>,
    importance: Importance<'_>,
    removed: Option<&[bool]>,
    size: usize,
) -> Vec<f32> {
    let (rows, cols) = (weight.rows(), weight.cols());
    let mut weights = match importance {
        Importance::Equal => vec![1.0; rows * cols],
        Importance::PerInput(inputs) => {
            assert_eq!(inputs.len(), cols, "one weight per input");
            inputs.repeat(rows)
        }
        Importance::PerWeight(weights) => {
            assert_eq!(
                (weights.rows(), weights.cols()),
                (rows, cols),
                "one weight per weight"
            );
            weights.data().to_vec()
        }
    };
    // In order, so that the sum is the same on any number of threads.
    let sum: f64 = weights.iter().copied().map(f64::from).sum();
    let mean = sum / weights.len().max(1) as f64;
    #[expect(clippy::cast_possible_truncation, reason = "a factor of f32 weights")]
    let factor = if mean > 0.0 { (1.0 / mean) as f32 } else { 1.0 };
    let least = if mean > 0.0 { LEAST_IMPORTANCE } else { 1.0 };
    weights
        .par_chunks_mut(cols.max(1))
        .enumerate()
        .for_each(|(row, weights)| {
            let removed = removed.map(|removed| &removed[row * cols..(row + 1) * cols]);
            for (group, weights) in weights.chunks_mut(size).enumerate() {
                let removed = |at: usize| removed.is_some_and(|mask| mask[group * size + at]);
                let mut counted = false;
                for (at, weight) in weights.iter_mut().enumerate() {
                    *weight = if removed(at) { 0.0 } else { *weight * factor };
                    counted |= *weight > 0.0;
                }
                if !counted {
                    for (at, weight) in weights.iter_mut().enumerate() {
                        *weight = if removed(at) { 0.0 } else { least };
                    }
                }
            }
        });
    weights
}

/// Refuses a weight that no scale of f16 can reach.
fn require_half_range(
    weight: MatrixRef<'_>,
    removed: Option<&[bool]>,
) -> Result<(), QuantizeError> {
    let limit = f16::MAX.to_f32();
    let kept = |at: usize| removed.is_none_or(|mask| !mask[at]);
    let values = weight.data().iter().enumerate();
    let outside = values
        .filter(|(at, value)| value.abs() > limit && kept(*at))
        .map(|(at, _)| at)
        .next();
    outside.map_or(Ok(()), |at| {
        Err(QuantizeError::HalfRange {
            row: at / weight.cols(),
            col: at % weight.cols(),
            value: weight.data()[at],
        })
    })
}
