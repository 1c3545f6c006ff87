//! The column loop: round a column, let its error move the columns that follow.
//!
//! Rows do not know each other, so the matrix is cut into strips of rows, each the work of one
//! thread. Within a strip a column is contiguous. The feedback of all columns before a block is one
//! product; inside the block columns are added one by one.

use super::feedback::Feedback;
use crate::MatrixRef;
use crate::linalg::product::{Strided, multiply};
use multiversion::multiversion;
use rayon::prelude::*;

/// Rows of a strip. More of them share the packing of the factor; fewer keep what the column loop touches in
/// a core's cache and small matrices divisible among threads (column loop of 4096 x 4096, one thread: 256 rows take
/// 0.66 of the time of 128, 512 take 0.74). It depends on the matrix alone, so that the number of threads changes no bit.
const fn strip(rows: usize) -> usize {
    if rows < 2048 { 128 } else { 256 }
}

/// What columns are rounded to, and how.
pub(super) trait Rounding: Sync {
    /// What is stored for a weight.
    type Code: Copy + Default + Send;
    /// Grids or tables of a strip of rows.
    type Strip: Send;

    /// Columns whose feedback has to be known together; `block` where any number will do.
    fn unit(&self, block: usize) -> usize;
    /// What is known from the start about rows `first .. first + rows`.
    fn start(&self, weight: MatrixRef<'_>, first: usize, rows: usize) -> Self::Strip;
    /// Called before the unit at position `start`, whose original weights are `weights` `[columns, rows]` and whose
    /// feedback so far is `moved`.
    fn fit(&self, strip: &mut Self::Strip, start: usize, weights: &[f32], moved: &[f32]);
    /// Rounds the column at `position`, whose weights should best be `targets`: `codes`, and what they mean.
    fn round(
        &self,
        strip: &mut Self::Strip,
        position: usize,
        targets: &[f32],
        codes: &mut [Self::Code],
        values: &mut [f32],
    );
}

/// A whole matrix, rounded.
pub(super) struct Rounded<R: Rounding> {
    /// `[rows, cols]`, columns as they were.
    pub(super) codes: Vec<R::Code>,
    /// Strips of rows from the first on, each with its number of rows.
    pub(super) strips: Vec<(usize, R::Strip)>,
}

/// What all strips share.
pub(super) struct Columns<'a, R> {
    rounding: &'a R,
    feedback: &'a Feedback,
    /// Columns between two products.
    block: usize,
    /// For the column at each position, its entries of `M` from the start of its block on:
    /// `[cols, block]`.
    corners: Vec<f32>,
}

impl<'a, R: Rounding> Columns<'a, R> {
    pub(super) fn new(rounding: &'a R, feedback: &'a Feedback, block: usize) -> Self {
        let cols = feedback.order.len();
        let mut corners = vec![0.0; cols * block];
        for (start, end) in units(cols, rounding.unit(block)) {
            for (from, to) in blocks((start, end), block) {
                for row in from..to {
                    let factors = &feedback.factor[row * cols..];
                    for col in row + 1..to {
                        corners[col * block + row - from] = factors[col];
                    }
                }
            }
        }
        Self {
            rounding,
            feedback,
            block,
            corners,
        }
    }

    /// Rounds `weight`, whose columns are those of the feedback.
    pub(super) fn round(&self, weight: MatrixRef<'_>) -> Rounded<R> {
        let (rows, cols) = (weight.rows(), weight.cols());
        let mut codes = vec![R::Code::default(); rows * cols];
        let strip = strip(rows);
        let mut strips = Vec::new();
        if rows * cols > 0 {
            let work = codes.par_chunks_mut(strip * cols).enumerate();
            strips = work
                .map(|(at, codes)| {
                    let rows = codes.len() / cols;
                    let work = Strip::new(weight, at * strip, rows, self);
                    (rows, work.round(self, codes))
                })
                .collect();
        }
        Rounded { codes, strips }
    }
}

/// Runs of `width` columns.
fn units(cols: usize, width: usize) -> impl Iterator<Item = (usize, usize)> {
    blocks((0, cols), width)
}

/// Runs of `width` columns from `start` to `end`, the last one shorter.
fn blocks((start, end): (usize, usize), width: usize) -> impl Iterator<Item = (usize, usize)> {
    (start..end)
        .step_by(width)
        .map(move |from| (from, (from + width).min(end)))
}

/// A strip of rows on its way; all matrices are `[cols, rows]` in the order of the feedback.
struct Strip<R: Rounding> {
    rows: usize,
    weights: Vec<f32>,
    /// `w - w'` of the columns done.
    errors: Vec<f32>,
    codes: Vec<R::Code>,
    points: R::Strip,
}

impl<R: Rounding> Strip<R> {
    fn new(weight: MatrixRef<'_>, first: usize, rows: usize, columns: &Columns<'_, R>) -> Self {
        let cols = weight.cols();
        let mut weights = vec![0.0; cols * rows];
        for row in 0..rows {
            let source = weight.row(first + row);
            for (position, &col) in columns.feedback.order.iter().enumerate() {
                weights[position * rows + row] = source[col];
            }
        }
        Self {
            rows,
            weights,
            errors: vec![0.0; cols * rows],
            codes: vec![R::Code::default(); cols * rows],
            points: columns.rounding.start(weight, first, rows),
        }
    }

    fn round(mut self, columns: &Columns<'_, R>, codes: &mut [R::Code]) -> R::Strip {
        let (rows, rounding) = (self.rows, columns.rounding);
        let cols = columns.feedback.order.len();
        let unit = rounding.unit(columns.block);
        let mut moved = vec![0.0; unit.min(cols) * rows];
        let (mut target, mut values) = (vec![0.0; rows], vec![0.0; rows]);
        for (start, end) in units(cols, unit) {
            let moved = &mut moved[..(end - start) * rows];
            self.feed(columns, (0, start), (start, end), moved, false);
            let weights = &self.weights[start * rows..end * rows];
            rounding.fit(&mut self.points, start, weights, moved);
            for (from, to) in blocks((start, end), columns.block) {
                let moved = &mut moved[(from - start) * rows..(to - start) * rows];
                if from > start {
                    self.feed(columns, (start, from), (from, to), moved, true);
                }
                for (position, moved) in (from..to).zip(moved.chunks(rows)) {
                    target.copy_from_slice(moved);
                    let done = &self.errors[from * rows..position * rows];
                    let factors = &columns.corners[position * columns.block..];
                    add_multiples(done, factors, &mut target);
                    self.round_column(rounding, position, &mut target, &mut values);
                }
            }
        }
        self.store(&columns.feedback.order, codes);
        self.points
    }

    /// What the errors of columns `done` add to the columns `at`, into `moved` `[at, rows]`.
    fn feed(
        &self,
        columns: &Columns<'_, R>,
        done: (usize, usize),
        at: (usize, usize),
        moved: &mut [f32],
        add: bool,
    ) {
        let (depth, width) = (done.1 - done.0, at.1 - at.0);
        if depth == 0 {
            moved.fill(0.0);
            return;
        }
        let cols = columns.feedback.order.len();
        let factor = &columns.feedback.factor[done.0 * cols + at.0..];
        let factor = Strided::new(factor, depth, width, cols, 1).transposed();
        let errors = &self.errors[done.0 * self.rows..done.1 * self.rows];
        let errors = Strided::row_major(errors, self.rows);
        multiply(factor, errors, moved, self.rows, add);
    }

    /// Rounds `w + target` and keeps the difference to the original.
    fn round_column(
        &mut self,
        rounding: &R,
        position: usize,
        target: &mut [f32],
        values: &mut [f32],
    ) {
        let column = position * self.rows..(position + 1) * self.rows;
        let weights = &self.weights[column.clone()];
        for (target, weight) in target.iter_mut().zip(weights) {
            *target += weight;
        }
        let codes = &mut self.codes[column.clone()];
        rounding.round(&mut self.points, position, target, codes, values);
        let errors = self.errors[column].iter_mut().zip(weights);
        for ((error, weight), value) in errors.zip(values) {
            *error = weight - *value;
        }
    }

    /// Turns codes back to rows.
    fn store(&self, order: &[usize], codes: &mut [R::Code]) {
        for (position, &col) in order.iter().enumerate() {
            let column = &self.codes[position * self.rows..(position + 1) * self.rows];
            for (row, code) in codes.chunks_mut(order.len()).zip(column) {
                row[col] = *code;
            }
        }
    }
}

/// `out += sum_j factors[j] * done[j]` with `done` `[columns, out.len()]`.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512bw+avx512vl", "x86_64+avx2"))]
pub(super) fn add_multiples(done: &[f32], factors: &[f32], out: &mut [f32]) {
    const LANES: usize = 64;
    let rows = out.len();
    let (whole, rest) = out.as_chunks_mut::<LANES>();
    let first_of_rest = whole.len() * LANES;
    for (chunk, out) in whole.iter_mut().enumerate() {
        let mut sum = *out;
        for (column, factor) in done.chunks_exact(rows).zip(factors) {
            let Some(column) = column[chunk * LANES..].first_chunk::<LANES>() else {
                continue;
            };
            for (sum, value) in sum.iter_mut().zip(column) {
                *sum += factor * value;
            }
        }
        *out = sum;
    }
    for (column, factor) in done.chunks_exact(rows).zip(factors) {
        for (out, value) in rest.iter_mut().zip(&column[first_of_rest..]) {
            *out += factor * value;
        }
    }
}
