//! The rows that share one table: their scales and the table, fitted in turn.

use super::levels::Levels;
use super::scales::{GroupSums, ScaleRow, StoredScales};
use super::start;
use super::sums::{Group, TableSums, inverse};
use crate::codebook::rounding::nearest_f16;
use half::f16;
use rayon::prelude::*;

/// Rows whose sums are added up by one task. Sums of tasks are added in order, so that the number of threads
/// changes no bit.
const TASK_ROWS: usize = 16;
/// First scales tried: the extreme weight of a group at either end of the table, times these shares.
const START_SHARES: [f64; 13] = [
    0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0, 1.05,
];
/// Scales tried around one that is there, also with the other sign.
const NEARBY_SHARES: [f64; 6] = [0.8, 0.88, 0.94, 1.06, 1.12, 1.2];

/// Rows that share a table, `[rows, cols]`, with a scale for every `size` inputs.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) values: &'a [f32],
    /// Weights of the squared errors; 0 for weights that are stored elsewhere.
    pub(super) weights: &'a [f32],
    pub(super) cols: usize,
    pub(super) size: usize,
}

impl<'a> Rows<'a> {
    fn groups(self, row: usize) -> impl Iterator<Item = Group<'a>> {
        let row = row * self.cols..(row + 1) * self.cols;
        let values = self.values[row.clone()].chunks(self.size);
        let pairs = values.zip(self.weights[row].chunks(self.size));
        pairs.map(|(values, weights)| Group { values, weights })
    }

    fn per_row(self) -> usize {
        self.cols.div_ceil(self.size)
    }
}

/// A table and scales on their way.
#[derive(Clone)]
pub(super) struct Fitted {
    pub(super) table: Vec<f16>,
    pub(super) levels: Levels,
    pub(super) scales: StoredScales,
    /// Weighted squared error after each round.
    pub(super) history: Vec<f64>,
}

impl Fitted {
    /// Scales for `table`, each the best of those tried.
    pub(super) fn start(rows: Rows<'_>, table: Vec<f16>, scale_bits: u8) -> Self {
        let levels = Levels::new(&table);
        let count = rows.values.len() / rows.cols;
        let mut scales = StoredScales::new(scale_bits, count, rows.per_row());
        let ends = levels.ends();
        let work: Vec<(usize, ScaleRow<'_>)> = scales.rows_mut().enumerate().collect();
        work.into_par_iter().for_each(|(row, mut scales)| {
            let best = rows.groups(row).map(|group| {
                let extreme = group.extreme();
                let tried = ends.iter().filter(|end| **end != 0.0).flat_map(|end| {
                    let whole = f64::from(extreme) / f64::from(*end);
                    START_SHARES.iter().map(move |share| share * whole)
                });
                group.best(tried, &levels)
            });
            let (wanted, sums): (Vec<f64>, Vec<GroupSums>) = best.unzip();
            scales.start(&wanted, &sums);
        });
        Self {
            table,
            levels,
            scales,
            history: Vec::new(),
        }
    }

    /// The table that suits the scales of `self` best, from where a fit can start again.
    pub(super) fn optimal_table(&self, rows: Rows<'_>, bits: u8) -> Vec<f16> {
        let per_row = rows.per_row();
        let (mut values, mut weights) = (Vec::new(), Vec::new());
        for row in 0..rows.values.len() / rows.cols {
            for (group, at) in rows.groups(row).zip(row * per_row..) {
                let scale = self.scales.values[at];
                values.extend(group.values.iter().map(|value| value * inverse(scale)));
                weights.extend(group.weights.iter().map(|weight| weight * scale * scale));
            }
        }
        start::optimal(&values, &weights, bits)
    }

    /// One round: scales, then, unless it is `fixed`, the table. With `search` every group also tries scales away
    /// from its own.
    pub(super) fn round(&mut self, rows: Rows<'_>, search: bool, fixed: bool) {
        let (levels, cols) = (&self.levels, rows.cols);
        let work: Vec<(usize, ScaleRow<'_>)> = self.scales.rows_mut().enumerate().collect();
        work.into_par_iter()
            .for_each(|(row, scales)| improve(rows, row, scales, levels, search));
        let (per_row, scales) = (rows.per_row(), &self.scales.values);
        let count = rows.values.len() / cols;
        let tasks: Vec<TableSums> = (0..count.div_ceil(TASK_ROWS))
            .into_par_iter()
            .map(|task| {
                let mut sums = TableSums::new(levels.entries.len());
                for row in task * TASK_ROWS..((task + 1) * TASK_ROWS).min(count) {
                    for (group, scale) in rows.groups(row).zip(&scales[row * per_row..]) {
                        sums.add_group(group, *scale, levels);
                    }
                }
                sums
            })
            .collect();
        let mut sums = TableSums::new(levels.entries.len());
        for task in &tasks {
            sums.add(task);
        }
        self.history.push(sums.error);
        if !fixed {
            for (entry, (cross, curvature)) in self
                .table
                .iter_mut()
                .zip(sums.cross.iter().zip(&sums.curvature))
            {
                if *curvature > 0.0 {
                    *entry = nearest_f16(cross / curvature);
                }
            }
            // An entry that no weight uses stays where it was, and others may have passed it.
            self.table.sort_by(f16::total_cmp);
            self.levels = Levels::new(&self.table);
        }
    }

    /// Error of the last round.
    pub(super) fn error(&self) -> f64 {
        self.history.last().copied().unwrap_or(f64::INFINITY)
    }
}

/// Gives the groups of a row the best of the scales at hand.
fn improve(rows: Rows<'_>, row: usize, mut scales: ScaleRow<'_>, levels: &Levels, search: bool) {
    let mut all = Vec::with_capacity(scales.values.len());
    for (at, group) in rows.groups(row).enumerate() {
        let (now, squares) = (scales.values[at], group.squares());
        let mut best: Option<(f64, f32, GroupSums)> = None;
        let mut consider = |tried: f64| {
            #[expect(clippy::cast_possible_truncation, reason = "a scale to look from")]
            let sums = group.sums(inverse(tried as f32), levels, squares);
            // Where the scale changes nothing it stays, so that it stays finite.
            let scale = sums.best().map_or(now, |best| scales.nearest(best));
            let error = sums.error(scale);
            if best.is_none_or(|(least, ..)| error < least) {
                best = Some((error, scale, sums));
            }
        };
        consider(f64::from(now));
        if search {
            for share in NEARBY_SHARES {
                consider(share * f64::from(now));
                consider(-share * f64::from(now));
            }
        }
        if let Some((_, scale, sums)) = best {
            scales.values[at] = scale;
            all.push(sums);
        }
    }
    scales.refit_step(&all);
}

impl Group<'_> {
    /// The value farthest from 0 of those that count.
    fn extreme(self) -> f32 {
        let counted = self.values.iter().zip(self.weights);
        let counted = counted.filter(|(_, weight)| **weight > 0.0);
        counted.fold(0.0_f32, |most, (value, _)| {
            if value.abs() > most.abs() {
                *value
            } else {
                most
            }
        })
    }

    /// The best of the scales that `tried` lead to, and what the group says about its scale there.
    fn best(self, tried: impl Iterator<Item = f64>, levels: &Levels) -> (f64, GroupSums) {
        let squares = self.squares();
        let mut best = (f64::INFINITY, 0.0, GroupSums::default());
        for scale in tried {
            #[expect(clippy::cast_possible_truncation, reason = "a scale to look from")]
            let sums = self.sums(inverse(scale as f32), levels, squares);
            let scale = sums.best().unwrap_or(0.0);
            let error = sums.squares - scale * sums.cross;
            if error < best.0 {
                best = (error, scale, sums);
            }
        }
        (best.1, best.2)
    }
}
