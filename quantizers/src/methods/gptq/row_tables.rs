//! Columns rounded to the entries of a table for each row, with weights among them that are stored apart, exactly.

use super::columns::{Columns, Rounding};
use super::feedback::Feedback;
use crate::MatrixRef;
use crate::codebook::scaled::{Levels, Lookup};
use half::f16;
use rayon::prelude::*;

/// Columns between two products.
const BLOCK: usize = 128;
/// Rows whose values are written at a time.
const BAND: usize = 16;

/// Indices that make up for each other's errors.
pub(in crate::methods) struct Start {
    /// `[rows, cols]`.
    pub(in crate::methods) indices: Vec<u8>,
    /// `H e / mean` of each row, `e` the error of the indices, `H` as damped as in the feedback; `[rows, cols]`.
    pub(in crate::methods) residuals: Vec<f32>,
}

/// Rounds `weight` column by column to entries of `tables` `[rows, entries]`, each row ascending. Weights in `removed`
/// `[rows * cols]` have no error.
pub(in crate::methods) fn start_of_row_tables(
    weight: MatrixRef<'_>,
    feedback: &Feedback,
    (tables, entries): (&[f16], usize),
    removed: Option<&[bool]>,
) -> Start {
    let rounding = RowTables {
        levels: tables.chunks(entries).map(Levels::new).collect(),
        order: &feedback.order,
        removed,
    };
    let rounded = Columns::new(&rounding, feedback, BLOCK).round(weight);
    let cols = weight.cols();
    let mut residuals = vec![0.0; rounded.codes.len()];
    let mut left = residuals.as_mut_slice();
    let mut work = Vec::with_capacity(rounded.strips.len());
    for (rows, strip) in rounded.strips {
        let own;
        (own, left) = left.split_at_mut(rows * cols);
        work.push((rows, strip.rounded, own));
    }
    work.into_par_iter().for_each(|(rows, rounded, own)| {
        let residuals = feedback.residuals(&rounded, rows);
        // A few rows at a time, so that they stay in a core's cache.
        for (band, own) in own.chunks_mut(BAND * cols).enumerate() {
            for (column, col) in residuals.chunks(rows).zip(&feedback.order) {
                for (row, residual) in own.chunks_mut(cols).zip(&column[band * BAND..]) {
                    row[*col] = *residual;
                }
            }
        }
    });
    Start {
        indices: rounded.codes,
        residuals,
    }
}

struct RowTables<'a> {
    /// Of each row.
    levels: Vec<Levels>,
    /// Original column at each position.
    order: &'a [usize],
    removed: Option<&'a [bool]>,
}

/// Tables of a strip of rows.
struct RowStrip {
    lookup: Lookup,
    /// Scales of tables without any.
    ones: Vec<f32>,
    /// Rows whose weight is stored apart at each position, and what it is.
    removed: Vec<Vec<(usize, f32)>>,
    /// What rounding added to each target, `[cols, rows]`.
    rounded: Vec<f32>,
}

impl Rounding for RowTables<'_> {
    type Code = u8;
    type Strip = RowStrip;

    fn unit(&self, block: usize) -> usize {
        block
    }

    fn start(&self, weight: MatrixRef<'_>, first: usize, rows: usize) -> RowStrip {
        let cols = weight.cols();
        let removed = self.removed.map_or(Vec::new(), |mask| {
            let of_column = |col: usize| {
                let rows = (0..rows).filter(|row| mask[(first + row) * cols + col]);
                rows.map(|row| (row, weight.row(first + row)[col]))
                    .collect()
            };
            self.order.iter().map(|col| of_column(*col)).collect()
        });
        RowStrip {
            lookup: Lookup::new(rows, |row| &self.levels[first + row]),
            ones: vec![1.0; rows],
            removed,
            rounded: vec![0.0; cols * rows],
        }
    }

    fn fit(&self, _: &mut RowStrip, _: usize, _: &[f32], _: &[f32]) {}

    fn round(
        &self,
        strip: &mut RowStrip,
        position: usize,
        targets: &[f32],
        codes: &mut [u8],
        values: &mut [f32],
    ) {
        let ones = (strip.ones.as_slice(), strip.ones.as_slice());
        strip.lookup.round(targets, ones, codes, values);
        for &(row, weight) in strip.removed.get(position).into_iter().flatten() {
            values[row] = weight;
        }
        let rounded = &mut strip.rounded[position * targets.len()..][..targets.len()];
        for (rounded, (value, target)) in rounded.iter_mut().zip(values.iter().zip(targets)) {
            *rounded = value - target;
        }
    }
}
