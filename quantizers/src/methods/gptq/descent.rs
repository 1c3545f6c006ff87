//! Coordinate descent on `tr(D H D^T)` after the column loop: every index again, then every scale, while all else
//! stays. The column loop rounds each column once, when the later ones are still free; here all are known.
//!
//! With `E = W - W'` and `R = H E^T`, the best value of weight `j` of a row for the others as they are is
//! `w'_j + R_j / H_jj`, and a group whose entries are `u` wants its scale changed by `u^T R / u^T H u`. Either moves
//! along a parabola, so that the nearest entry or storable scale never raises the loss.

use super::columns::add_multiples;
use super::tables::{Tables, inverse, with_sparse};
use crate::MatrixRef;
use crate::codebook::scaled::Lookup;
use crate::linalg::product::{Strided, multiply};

/// Columns between two products.
const BLOCK: usize = 128;

/// A Hessian as the factorisation saw it: with damping, and the mean of the diagonal for inputs that are always 0.
pub(super) struct Curvature {
    pub(super) cols: usize,
    /// `[cols, cols]`.
    pub(super) values: Vec<f32>,
}

impl Curvature {
    pub(super) fn new(hessian: MatrixRef<'_>, mean: f64, damping: f64) -> Self {
        let cols = hessian.cols();
        let mut values = hessian.data().to_vec();
        for value in values.iter_mut().step_by(cols + 1) {
            let diagonal = if *value == 0.0 {
                mean
            } else {
                f64::from(*value)
            };
            #[expect(clippy::cast_possible_truncation, reason = "the descent is in f32")]
            let damped = (diagonal + damping * mean) as f32;
            *value = damped;
        }
        Self { cols, values }
    }

    /// Rows `from..to` times `right` `[cols, width]`.
    pub(super) fn times(
        &self,
        (from, to): (usize, usize),
        right: &[f32],
        width: usize,
    ) -> Vec<f32> {
        let mut product = vec![0.0; (to - from) * width];
        let rows = Strided::row_major(&self.values, self.cols).slice_rows(from, to);
        multiply(
            rows,
            Strided::row_major(right, width),
            &mut product,
            width,
            false,
        );
        product
    }

    /// The square `from..to` times `right` `[to - from, width]`.
    fn corner_times(&self, (from, to): (usize, usize), right: &[f32], width: usize) -> Vec<f32> {
        let (size, mut product) = (to - from, vec![0.0; right.len()]);
        let corner = &self.values[from * self.cols + from..];
        let corner = Strided::new(corner, size, size, self.cols, 1);
        multiply(
            corner,
            Strided::row_major(right, width),
            &mut product,
            width,
            false,
        );
        product
    }
}

/// Some rows of a solution; matrices are `[cols, rows]`.
pub(super) struct Strip {
    pub(super) first: usize,
    pub(super) rows: usize,
    pub(super) weights: Vec<f32>,
    pub(super) codes: Vec<u8>,
    /// `w - w'`.
    pub(super) errors: Vec<f32>,
    /// `[groups, rows]`.
    pub(super) scales: Vec<f32>,
    pub(super) lookup: Lookup,
    /// Rows with a sparse value in each column.
    pub(super) removed: Vec<Vec<usize>>,
}

impl Strip {
    /// Rows `first..` of a solution with `codes` `[rows, cols]` for them; `kept` are the weights that have a sparse
    /// value, by row of the strip and column, with what they are.
    pub(super) fn new(
        tables: &Tables,
        weight: MatrixRef<'_>,
        first: usize,
        codes: &[u8],
        kept: &[(usize, usize, f32)],
    ) -> Self {
        let cols = weight.cols();
        let rows = codes.len() / cols;
        let mut strip = Self {
            first,
            rows,
            weights: vec![0.0; cols * rows],
            codes: vec![0; cols * rows],
            errors: vec![0.0; cols * rows],
            scales: tables.scales_of(first, rows),
            lookup: tables.lookup(first, rows),
            removed: vec![Vec::new(); cols],
        };
        for (row, codes) in codes.chunks(cols).enumerate() {
            for (col, (weight, code)) in weight.row(first + row).iter().zip(codes).enumerate() {
                strip.weights[col * rows + row] = *weight;
                strip.codes[col * rows + row] = *code;
            }
        }
        let mut entries = vec![0.0; rows];
        for col in 0..cols {
            let column = col * rows..(col + 1) * rows;
            strip
                .lookup
                .entries(&strip.codes[column.clone()], &mut entries);
            let group = col / tables.size * rows;
            let scales = &strip.scales[group..group + rows];
            let pairs = strip.weights[column.clone()]
                .iter()
                .zip(entries.iter().zip(scales));
            for (error, (weight, (entry, scale))) in strip.errors[column].iter_mut().zip(pairs) {
                *error = weight - entry * scale;
            }
        }
        for &(row, col, value) in kept {
            strip.errors[col * rows + row] = strip.weights[col * rows + row] - value;
            strip.removed[col].push(row);
        }
        strip
    }

    /// Visits every column once, and the scales of every group behind its columns.
    pub(super) fn pass(&mut self, curvature: &Curvature, tables: &Tables) {
        let cols = curvature.cols;
        for (group, start) in (0..cols).step_by(tables.size).enumerate() {
            let end = (start + tables.size).min(cols);
            for from in (start..end).step_by(BLOCK) {
                self.visit(curvature, group, (from, (from + BLOCK).min(end)));
            }
            if tables.scales.is_some() {
                self.rescale(curvature, tables, group, (start, end));
            }
        }
    }

    /// Rounds the columns `from..to`, all of one group, again.
    fn visit(&mut self, curvature: &Curvature, group: usize, (from, to): (usize, usize)) {
        let rows = self.rows;
        let mut moved = curvature.times((from, to), &self.errors, rows);
        let scales = &self.scales[group * rows..(group + 1) * rows];
        let inverses: Vec<f32> = scales.iter().copied().map(inverse).collect();
        let mut changes = vec![0.0; (to - from) * rows];
        let mut values = vec![0.0; rows];
        for (at, target) in moved.chunks_mut(rows).enumerate() {
            let col = from + at;
            let factors = &curvature.values[col * curvature.cols + from..][..at];
            add_multiples(&changes[..at * rows], factors, target);
            let column = col * rows..(col + 1) * rows;
            let (weights, errors) = (
                &self.weights[column.clone()],
                &mut self.errors[column.clone()],
            );
            let share = curvature.values[col * (curvature.cols + 1)].recip();
            for (target, (weight, error)) in target.iter_mut().zip(weights.iter().zip(&*errors)) {
                *target = weight - error + share * *target;
            }
            let codes = &mut self.codes[column];
            self.lookup
                .round(target, (scales, &inverses), codes, &mut values);
            for &row in &self.removed[col] {
                values[row] = with_sparse(values[row], target[row]);
            }
            let changes = &mut changes[at * rows..(at + 1) * rows];
            let pairs = weights.iter().zip(&values).zip(changes);
            for (error, ((weight, value), change)) in errors.iter_mut().zip(pairs) {
                let new = weight - value;
                *change = new - *error;
                *error = new;
            }
        }
    }

    /// Moves the scales of `group`, the columns `from..to`, to the storable ones nearest their best.
    fn rescale(
        &mut self,
        curvature: &Curvature,
        tables: &Tables,
        group: usize,
        (from, to): (usize, usize),
    ) {
        let Some(stored) = &tables.scales else {
            return;
        };
        let rows = self.rows;
        let entries = self.entries((from, to));
        let pull = curvature.times((from, to), &self.errors, rows);
        let stiffness = curvature.corner_times((from, to), &entries, rows);
        let (mut cross, mut curved) = (vec![0.0f64; rows], vec![0.0f64; rows]);
        for (entries, (pull, stiffness)) in entries
            .chunks(rows)
            .zip(pull.chunks(rows).zip(stiffness.chunks(rows)))
        {
            let sums = cross.iter_mut().zip(&mut curved);
            for ((cross, curved), (entry, (pull, stiff))) in
                sums.zip(entries.iter().zip(pull.iter().zip(stiffness)))
            {
                *cross += f64::from(*entry) * f64::from(*pull);
                *curved += f64::from(*entry) * f64::from(*stiff);
            }
        }
        let scales = &mut self.scales[group * rows..(group + 1) * rows];
        let mut changes = vec![0.0; rows];
        let sums = cross.iter().zip(&curved);
        for (row, (scale, (cross, curved))) in scales.iter_mut().zip(sums).enumerate() {
            if *curved > 0.0 {
                let best = f64::from(*scale) + cross / curved;
                let new = stored.nearest(self.first + row, best);
                changes[row] = new - *scale;
                *scale = new;
            }
        }
        let errors = self.errors[from * rows..to * rows].chunks_mut(rows);
        for (errors, entries) in errors.zip(entries.chunks(rows)) {
            for (error, (entry, change)) in errors.iter_mut().zip(entries.iter().zip(&changes)) {
                *error -= entry * change;
            }
        }
    }

    /// Entries of the columns `from..to` without their scales, 0 where a sparse value makes up for any.
    pub(super) fn entries(&self, (from, to): (usize, usize)) -> Vec<f32> {
        let rows = self.rows;
        let mut entries = vec![0.0; (to - from) * rows];
        for (at, entries) in entries.chunks_mut(rows).enumerate() {
            let col = from + at;
            self.lookup
                .entries(&self.codes[col * rows..(col + 1) * rows], entries);
            for &row in &self.removed[col] {
                entries[row] = 0.0;
            }
        }
        entries
    }

    /// Writes indices as `[rows, cols]` and scales as `[rows, groups]`, if there is room for any; gives the weights
    /// that have sparse values, as [`Self::new`] takes them.
    pub(super) fn store(&self, codes: &mut [u8], scales: &mut [f32]) -> Vec<(usize, usize, f32)> {
        let (rows, cols) = (self.rows, self.removed.len());
        for (row, codes) in codes.chunks_mut(cols).enumerate() {
            for (col, code) in codes.iter_mut().enumerate() {
                *code = self.codes[col * rows + row];
            }
        }
        for (row, scales) in scales.chunks_mut(self.scales.len() / rows).enumerate() {
            for (group, scale) in scales.iter_mut().enumerate() {
                *scale = self.scales[group * rows + row];
            }
        }
        let removed = self.removed.iter().enumerate();
        removed
            .flat_map(|(col, removed)| removed.iter().map(move |row| (*row, col)))
            .map(|(row, col)| {
                let at = col * rows + row;
                (row, col, self.weights[at] - self.errors[at])
            })
            .collect()
    }
}
