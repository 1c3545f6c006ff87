//! The entries of tables by least squares on `tr(D H D^T)`, for indices and scales as they are.
//!
//! A table `t` of some rows has the normal equations `A d = g` for its change `d`:
//! `A_kl = sum v_k^T H v_l` and `g_k = sum v_k^T H e`, with `v_k` the scales of a row where its index is `k` and 0
//! elsewhere, and `e = w - w'` (LNQ's codebook step in `GuidedQuant`, Kim et al. 2025, with local scales). `A` of a
//! table of many rows is estimated from some of them; whether the change helps is measured on all.

use super::columns::add_multiples;
use super::descent::{Curvature, Strip};
use super::tables::Tables;
use crate::codebook::scaled::Levels;
use crate::linalg::factor::unit_upper;
use half::f16;
use std::ops::Range;

/// Rows of a table whose curvature is computed.
const SAMPLED_ROWS: usize = 64;
/// What is added to the diagonal of `A`, as a share of its mean: entries that nothing uses stay.
const RIDGE: f64 = 1e-7;
/// Entries up to which tables are refitted; larger ones have little to gain, and `A` is their square.
pub(super) const MOST_ENTRIES: usize = 32;

/// Normal equations of one table.
#[derive(Debug, Clone)]
pub(super) struct Normal {
    /// `A`, `[entries, entries]`, of the sampled rows.
    matrix: Vec<f64>,
    /// `g`, `[entries]`, of all rows.
    pull: Vec<f64>,
}

/// Tables of the rows of `strip`.
pub(super) fn tables_of(tables: &Tables, strip: &Strip) -> Range<usize> {
    let last = strip.first + strip.rows - 1;
    strip.first / tables.together..last / tables.together + 1
}

impl Normal {
    pub(super) fn new(entries: usize) -> Self {
        Self {
            matrix: vec![0.0; entries * entries],
            pull: vec![0.0; entries],
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (own, other) in self.matrix.iter_mut().zip(&other.matrix) {
            *own += other;
        }
        for (own, other) in self.pull.iter_mut().zip(&other.pull) {
            *own += other;
        }
    }

    /// What the rows of `strip` add to the tables [`tables_of`] it.
    pub(super) fn of_strip(strip: &Strip, curvature: &Curvature, tables: &Tables) -> Vec<Self> {
        let entries = tables.levels[0].entries.len();
        let range = tables_of(tables, strip);
        let mut found = vec![Self::new(entries); range.len()];
        let (rows, cols) = (strip.rows, curvature.cols);
        let pulls = curvature.times((0, cols), &strip.errors, rows);
        let scales = strip.weights_of_entries(tables);
        for row in 0..rows {
            let normal = &mut found[(strip.first + row) / tables.together - range.start];
            for col in 0..cols {
                let at = col * rows + row;
                normal.pull[usize::from(strip.codes[at])] +=
                    f64::from(scales[at]) * f64::from(pulls[at]);
            }
        }
        let every = tables.together.div_ceil(SAMPLED_ROWS).max(1);
        let share = f64::from(u32::try_from(every).unwrap_or(u32::MAX));
        let mut products = vec![0.0f32; entries * cols];
        for row in
            (0..rows).filter(|row| ((strip.first + row) % tables.together).is_multiple_of(every))
        {
            products.fill(0.0);
            let column = |col: usize| {
                (
                    usize::from(strip.codes[col * rows + row]),
                    scales[col * rows + row],
                )
            };
            for col in 0..cols {
                let (code, scale) = column(col);
                let product = &mut products[code * cols..(code + 1) * cols];
                let line = &curvature.values[col * cols..(col + 1) * cols];
                add_multiples(line, &[scale], product);
            }
            let normal = &mut found[(strip.first + row) / tables.together - range.start];
            for (product, line) in products.chunks(cols).zip(normal.matrix.chunks_mut(entries)) {
                for (col, value) in product.iter().enumerate() {
                    let (code, scale) = column(col);
                    line[code] += share * f64::from(scale) * f64::from(*value);
                }
            }
        }
        found
    }

    /// The table that `self` leads to from `levels`, each entry as f16, in the order of the old entries; nothing
    /// where no entry moves.
    pub(super) fn step(&self, levels: &Levels) -> Option<Vec<f16>> {
        let entries = self.pull.len();
        let mean = (0..entries)
            .map(|at| self.matrix[at * (entries + 1)])
            .sum::<f64>()
            / entries as f64;
        let mut factor = self.matrix.clone();
        for value in factor.iter_mut().step_by(entries + 1) {
            *value += RIDGE * mean;
        }
        let diagonal = unit_upper(&mut factor, entries).ok()?;
        // M y = g from the last, then M^T d = y / D from the first.
        let mut change = self.pull.clone();
        for row in (0..entries).rev() {
            for col in row + 1..entries {
                change[row] -= factor[row * entries + col] * change[col];
            }
        }
        for (change, diagonal) in change.iter_mut().zip(&diagonal) {
            *change /= diagonal;
        }
        for row in 0..entries {
            for before in 0..row {
                change[row] -= factor[before * entries + row] * change[before];
            }
        }
        let moved: Vec<f16> = levels
            .entries
            .iter()
            .zip(&change)
            .map(|(entry, change)| f16::from_f64(f64::from(*entry) + change))
            .collect();
        let pairs = moved.iter().zip(&levels.entries);
        let mut differ = pairs.map(|(new, old)| new.to_f32() - old);
        (moved.iter().all(|entry| entry.is_finite()) && differ.any(|change| change != 0.0))
            .then_some(moved)
    }

    /// How much the loss falls with the table `moved`, but for the term that is quadratic in the change.
    pub(super) fn linear_gain(&self, levels: &Levels, moved: &[f16]) -> f64 {
        let pairs = moved.iter().zip(&levels.entries).zip(&self.pull);
        pairs
            .map(|((new, old), pull)| 2.0 * pull * (new.to_f64() - f64::from(*old)))
            .sum()
    }
}

/// `d^T A d` of the tables [`tables_of`] `strip` for the change to `moved`, from all its rows; 0 where there is none.
pub(super) fn quadratic_loss(
    strip: &Strip,
    curvature: &Curvature,
    tables: &Tables,
    moved: &[Option<Vec<f16>>],
) -> Vec<f64> {
    let (rows, cols) = (strip.rows, curvature.cols);
    let range = tables_of(tables, strip);
    let mut changes = strip.weights_of_entries(tables);
    for row in 0..rows {
        let table = (strip.first + row) / tables.together;
        for col in 0..cols {
            let (at, old) = (col * rows + row, &tables.levels[table].entries);
            let code = usize::from(strip.codes[at]);
            let change = moved[table].as_ref();
            changes[at] *= change.map_or(0.0, |moved| moved[code].to_f32() - old[code]);
        }
    }
    let products = curvature.times((0, cols), &changes, rows);
    let mut found = vec![0.0; range.len()];
    for (changes, products) in changes.chunks(rows).zip(products.chunks(rows)) {
        for (row, (change, product)) in changes.iter().zip(products).enumerate() {
            found[(strip.first + row) / tables.together - range.start] +=
                f64::from(*change) * f64::from(*product);
        }
    }
    found
}

/// `table` ascending, and where each of its entries went.
pub(super) fn ascending(table: &[f16]) -> (Vec<f16>, Vec<u8>) {
    let mut order: Vec<usize> = (0..table.len()).collect();
    order.sort_by(|a, b| table[*a].total_cmp(&table[*b]));
    let mut places = vec![0; table.len()];
    for (place, at) in (0_u8..=u8::MAX).zip(&order) {
        places[*at] = place;
    }
    (order.iter().map(|at| table[*at]).collect(), places)
}

impl Strip {
    /// What an entry of the table is multiplied with at each weight, `[cols, rows]`; 0 where a sparse value makes up
    /// for it.
    fn weights_of_entries(&self, tables: &Tables) -> Vec<f32> {
        let (rows, cols) = (self.rows, self.removed.len());
        let mut all = vec![0.0; cols * rows];
        for (col, weights) in all.chunks_mut(rows).enumerate() {
            let group = col / tables.size * rows;
            weights.copy_from_slice(&self.scales[group..group + rows]);
            for &row in &self.removed[col] {
                weights[row] = 0.0;
            }
        }
        all
    }
}
