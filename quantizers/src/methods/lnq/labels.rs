//! The label step: every weight in turn takes the entry that is best while all others stay.
//!
//! With `r = H e` the best value of weight `i` is `w'_i - r_i / H_ii`. Columns are taken in blocks: inside one the
//! residual follows every change at once, the columns outside are brought up to date by one product after the block.

use super::objective::Objective;
use super::strip::Strip;
use crate::linalg::product::{Strided, multiply};
use multiversion::multiversion;

/// Columns between two products.
pub(super) const BLOCK: usize = 128;

/// Share of a block's labels, one in this many, from which on the residual is brought up to date by a product; fewer
/// changes are added one by one.
const DENSE_SHARE: usize = 4;

/// One cycle over the columns; how many labels changed.
pub(super) fn sweep(strip: &mut Strip<'_>, objective: &Objective) -> usize {
    let cols = objective.cols();
    let mut changed = 0;
    let mut deltas = vec![0.0; strip.rows() * BLOCK];
    for from in (0..cols).step_by(BLOCK) {
        let to = (from + BLOCK).min(cols);
        let deltas = &mut deltas[..strip.rows() * (to - from)];
        let in_block = sweep_block(strip, objective, (from, to), deltas);
        changed += in_block;
        if in_block == 0 {
            continue;
        }
        for outside in [(0, from), (to, cols)] {
            follow(strip, objective, (from, to), outside, deltas, in_block);
        }
    }
    changed
}

/// The labels of columns `from..to` of all rows; their changes of value go to `deltas` `[rows, to - from]`.
fn sweep_block(
    strip: &mut Strip<'_>,
    objective: &Objective,
    (from, to): (usize, usize),
    deltas: &mut [f32],
) -> usize {
    let (cols, entries) = (objective.cols(), strip.entries);
    let mut thresholds = vec![0.0; entries - 1];
    let mut changed = 0;
    for (row, deltas) in deltas.chunks_mut(to - from).enumerate() {
        let block = row * cols + from..row * cols + to;
        let table = strip.values(row);
        strip.thresholds(row, &mut thresholds);
        let columns = Columns {
            table: &table,
            thresholds: &thresholds,
            weights: &strip.weights[block.clone()],
            fixed: strip.fixed.map(|fixed| &fixed[block.clone()]),
            inverse_diagonal: &objective.inverse_diagonal[from..to],
            hessian: &objective.hessian[from * cols + from..],
            stride: cols,
        };
        changed += visit(
            &columns,
            &mut strip.labels[block.clone()],
            &mut strip.errors[block.clone()],
            &mut strip.residuals[block],
            deltas,
        );
    }
    changed
}

/// What does not change while a block of one row is visited.
struct Columns<'a> {
    /// Ascending.
    table: &'a [f32],
    /// Between its entries.
    thresholds: &'a [f32],
    weights: &'a [f32],
    /// Columns that keep what they have.
    fixed: Option<&'a [bool]>,
    inverse_diagonal: &'a [f32],
    /// From the corner of the block on.
    hessian: &'a [f32],
    stride: usize,
}

#[multiversion(targets("x86_64+avx512f+avx512dq+avx512bw+avx512vl+fma", "x86_64+avx2+fma"))]
fn visit(
    columns: &Columns<'_>,
    labels: &mut [u8],
    errors: &mut [f32],
    residuals: &mut [f32],
    deltas: &mut [f32],
) -> usize {
    let mut changed = 0;
    for at in 0..labels.len() {
        deltas[at] = 0.0;
        let inverse = columns.inverse_diagonal[at];
        if columns.fixed.is_some_and(|fixed| fixed[at]) {
            continue;
        }
        let label = usize::from(labels[at]);
        // An input that is never used says nothing: its weight is rounded to nearest.
        let target = if inverse > 0.0 {
            residuals[at].mul_add(-inverse, columns.table[label])
        } else {
            columns.weights[at]
        };
        let above = columns.thresholds.iter();
        let nearest: usize = above
            .map(|threshold| usize::from(target > *threshold))
            .sum();
        // Entries may be equal.
        let delta = columns.table[nearest] - columns.table[label];
        if delta == 0.0 {
            continue;
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a table has at most 256 entries"
        )]
        let label = nearest as u8;
        labels[at] = label;
        errors[at] = columns.table[nearest] - columns.weights[at];
        deltas[at] = delta;
        changed += 1;
        let factors = &columns.hessian[at * columns.stride..];
        add_multiple(factors, delta, residuals);
    }
    changed
}

/// `out += factor * values`.
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "to be compiled with the features of its caller"
)]
fn add_multiple(values: &[f32], factor: f32, out: &mut [f32]) {
    if let (Some(values), Ok(out)) = (
        values.first_chunk::<BLOCK>(),
        <&mut [f32; BLOCK]>::try_from(&mut *out),
    ) {
        for (out, value) in out.iter_mut().zip(values) {
            *out = value.mul_add(factor, *out);
        }
        return;
    }
    for (out, value) in out.iter_mut().zip(values) {
        *out = value.mul_add(factor, *out);
    }
}

/// Adds what the changes of columns `from..to` mean to the residuals of the columns `outside`.
fn follow(
    strip: &mut Strip<'_>,
    objective: &Objective,
    (from, to): (usize, usize),
    outside: (usize, usize),
    deltas: &[f32],
    changed: usize,
) {
    let (cols, width) = (objective.cols(), to - from);
    if outside.0 == outside.1 {
        return;
    }
    if changed * DENSE_SHARE >= deltas.len() {
        let hessian = &objective.hessian[from * cols + outside.0..];
        let right = Strided::new(hessian, width, outside.1 - outside.0, cols, 1);
        let left = Strided::row_major(deltas, width);
        multiply(left, right, &mut strip.residuals[outside.0..], cols, true);
        return;
    }
    for (row, deltas) in deltas.chunks(width).enumerate() {
        let residuals = &mut strip.residuals[row * cols + outside.0..row * cols + outside.1];
        add_changes(
            deltas,
            &objective.hessian[from * cols + outside.0..],
            cols,
            residuals,
        );
    }
}

/// `out += sum_j deltas[j] * hessian[j]` over the deltas that are not zero; rows of `hessian` every `stride` values.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512bw+avx512vl+fma", "x86_64+avx2+fma"))]
fn add_changes(deltas: &[f32], hessian: &[f32], stride: usize, out: &mut [f32]) {
    for (at, delta) in deltas.iter().enumerate() {
        if *delta != 0.0 {
            let values = &hessian[at * stride..][..out.len()];
            for (out, value) in out.iter_mut().zip(values) {
                *out = value.mul_add(*delta, *out);
            }
        }
    }
}
