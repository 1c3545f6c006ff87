//! The column loop: round a column, let its error move the columns that follow.
//!
//! Rows do not know each other, so the matrix is cut into strips of rows, each the work of one
//! thread. Within a strip a column is contiguous. The feedback of all columns before a block is one
//! product; inside the block columns are added one by one.

use super::feedback::Feedback;
use super::groups::{Groups, StripPoints};
use crate::MatrixRef;
use crate::grid::Grid;
use crate::linalg::product::{Strided, multiply};
use multiversion::multiversion;
use rayon::prelude::*;

/// Rows of a strip. More of them share the packing of the factor; fewer keep what the column loop touches in
/// a core's cache and small matrices divisible among threads (column loop of 4096 x 4096, one thread: 256 rows take
/// 0.66 of the time of 128, 512 take 0.74). It depends on the matrix alone, so that the number of threads changes no bit.
const fn strip(rows: usize) -> usize {
    if rows < 2048 { 128 } else { 256 }
}

/// Codes and grids of a whole matrix, rows as they were.
pub(super) struct Rounded {
    /// `[rows, cols]`.
    pub(super) codes: Vec<i8>,
    /// `[rows, groups]`.
    pub(super) scales: Vec<f32>,
    /// `[rows, groups]`; zeros for symmetric grids.
    pub(super) zero_points: Vec<i8>,
}

/// What all strips share.
pub(super) struct Columns<'a> {
    grid: Grid,
    feedback: &'a Feedback,
    groups: &'a Groups,
    /// Columns between two products.
    block: usize,
    /// For the column at each position, its entries of `M` from the start of its block on:
    /// `[cols, block]`.
    corners: Vec<f32>,
}

impl<'a> Columns<'a> {
    pub(super) fn new(
        grid: Grid,
        feedback: &'a Feedback,
        groups: &'a Groups,
        block: usize,
    ) -> Self {
        let cols = feedback.order.len();
        let mut corners = vec![0.0; cols * block];
        for (start, end) in units(cols, groups.unit(block)) {
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
            grid,
            feedback,
            groups,
            block,
            corners,
        }
    }

    /// Rounds `weight`, whose columns are those of the feedback.
    pub(super) fn round(&self, weight: MatrixRef<'_>) -> Rounded {
        let (rows, cols) = (weight.rows(), weight.cols());
        let groups = self.groups.count();
        let mut rounded = Rounded {
            codes: vec![0; rows * cols],
            scales: vec![0.0; rows * groups],
            zero_points: vec![0; rows * groups],
        };
        let strip = strip(rows);
        if rows * cols > 0 {
            rounded
                .codes
                .par_chunks_mut(strip * cols)
                .zip(rounded.scales.par_chunks_mut(strip * groups))
                .zip(rounded.zero_points.par_chunks_mut(strip * groups))
                .enumerate()
                .for_each(|(at, ((codes, scales), zero_points))| {
                    let work = Strip::new(weight, at * strip, codes.len() / cols, self);
                    work.round(self, codes, scales, zero_points);
                });
        }
        rounded
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
struct Strip {
    rows: usize,
    weights: Vec<f32>,
    /// `w - w'` of the columns done.
    errors: Vec<f32>,
    codes: Vec<i8>,
    points: StripPoints,
}

impl Strip {
    fn new(weight: MatrixRef<'_>, first: usize, rows: usize, columns: &Columns<'_>) -> Self {
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
            codes: vec![0; cols * rows],
            points: columns.groups.start(columns.grid, weight, first, rows),
        }
    }

    fn round(
        mut self,
        columns: &Columns<'_>,
        codes: &mut [i8],
        scales: &mut [f32],
        zero_points: &mut [i8],
    ) {
        let rows = self.rows;
        let cols = columns.feedback.order.len();
        let mut moved = vec![0.0; columns.groups.unit(columns.block).min(cols) * rows];
        let mut target = vec![0.0; rows];
        for (start, end) in units(cols, columns.groups.unit(columns.block)) {
            let moved = &mut moved[..(end - start) * rows];
            self.feed(columns, (0, start), (start, end), moved, false);
            let weights = &self.weights[start * rows..end * rows];
            self.points
                .fit(columns.groups, columns.grid, start, weights, moved);
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
                    self.round_column(columns, position, &mut target);
                }
            }
        }
        self.store(columns, codes, scales, zero_points);
    }

    /// What the errors of columns `done` add to the columns `at`, into `moved` `[at, rows]`.
    fn feed(
        &self,
        columns: &Columns<'_>,
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
    fn round_column(&mut self, columns: &Columns<'_>, position: usize, target: &mut [f32]) {
        let column = position * self.rows..(position + 1) * self.rows;
        let weights = &self.weights[column.clone()];
        for (target, weight) in target.iter_mut().zip(weights) {
            *target += weight;
        }
        let group = columns.groups.of(position);
        let (scales, zero_points) = self.points.of(group);
        let codes = &mut self.codes[column.clone()];
        columns.grid.codes_each(target, scales, zero_points, codes);
        let errors = self.errors[column].iter_mut().zip(weights);
        let codes = codes.iter().zip(scales);
        match zero_points {
            None => {
                for ((error, weight), (code, scale)) in errors.zip(codes) {
                    *error = weight - scale * f32::from(*code);
                }
            }
            Some(zero_points) => {
                for (((error, weight), (code, scale)), zero) in errors.zip(codes).zip(zero_points) {
                    *error = weight - scale * (f32::from(*code) - zero);
                }
            }
        }
    }

    /// Turns codes and grids back to rows.
    fn store(
        &self,
        columns: &Columns<'_>,
        codes: &mut [i8],
        scales: &mut [f32],
        zero_points: &mut [i8],
    ) {
        let order = &columns.feedback.order;
        for (position, &col) in order.iter().enumerate() {
            let column = &self.codes[position * self.rows..(position + 1) * self.rows];
            for (row, code) in codes.chunks_mut(order.len()).zip(column) {
                row[col] = *code;
            }
        }
        self.points.store(scales, zero_points);
    }
}

/// `out += sum_j factors[j] * done[j]` with `done` `[columns, out.len()]`.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512bw+avx512vl", "x86_64+avx2"))]
fn add_multiples(done: &[f32], factors: &[f32], out: &mut [f32]) {
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
