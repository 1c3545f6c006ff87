//! Columns rounded to the entries of tables times local scales, both fixed before the first column.

use super::columns::Rounding;
use crate::MatrixRef;
use crate::codebook::scaled::{Levels, Lookup, StoredScales};
use crate::tensor::Codebook;
use half::f16;

/// Tables and scales of a codebook, ready for columns in any order.
#[derive(Debug, Clone)]
pub(super) struct Tables {
    /// One for each table.
    pub(super) levels: Vec<Levels>,
    /// Rows that share a table.
    pub(super) together: usize,
    /// Scales `[rows, groups]`; absent: all are 1.
    pub(super) scales: Option<StoredScales>,
    /// Groups of a row.
    pub(super) groups: usize,
    /// Columns of a group.
    pub(super) size: usize,
}

impl Tables {
    /// Those of `codebook` for a matrix `[rows, cols]` that is not empty.
    pub(super) fn of(codebook: &Codebook, rows: usize, cols: usize) -> Self {
        let tables = codebook.tables.chunks(1 << codebook.bits);
        let size = codebook.group_size(cols);
        let scales = codebook.scales.as_ref();
        Self {
            levels: tables.map(Levels::new).collect(),
            together: rows / codebook.count(),
            scales: scales.map(|scales| StoredScales::of(scales, rows, cols)),
            groups: cols.div_ceil(size),
            size,
        }
    }

    /// Tables of `rows` rows from `first` on.
    pub(super) fn lookup(&self, first: usize, rows: usize) -> Lookup {
        Lookup::new(rows, |row| &self.levels[(first + row) / self.together])
    }

    /// Scales of those rows, `[groups, rows]`.
    pub(super) fn scales_of(&self, first: usize, rows: usize) -> Vec<f32> {
        let mut all = vec![1.0; self.groups * rows];
        if let Some(scales) = &self.scales {
            for row in 0..rows {
                for group in 0..self.groups {
                    all[group * rows + row] = scales.values[(first + row) * self.groups + group];
                }
            }
        }
        all
    }
}

/// `1 / scale`, and 0 for 0.
pub(super) fn inverse(scale: f32) -> f32 {
    let inverse = scale.recip();
    if inverse.is_finite() { inverse } else { 0.0 }
}

/// What a sparse value makes of a dense one where `target` is wanted.
pub(super) fn with_sparse(dense: f32, target: f32) -> f32 {
    dense + f16::from_f32(target - dense).to_f32()
}

/// [`Tables`] in the order of the feedback.
pub(super) struct TableRounding<'a> {
    pub(super) tables: &'a Tables,
    /// Original column at each position.
    pub(super) order: &'a [usize],
    /// Row of the whole matrix that is the first of what is rounded.
    pub(super) first: usize,
    /// Weights that also have a sparse value, `[rows, cols]`.
    pub(super) removed: Option<&'a [bool]>,
}

/// Tables of a strip of rows.
pub(super) struct TableStrip {
    rows: usize,
    lookup: Lookup,
    /// `[groups, rows]`.
    scales: Vec<f32>,
    inverses: Vec<f32>,
    /// Rows with a sparse value at each position.
    removed: Vec<Vec<usize>>,
    /// Row of the strip, column, and what dense and sparse value add up to.
    pub(super) kept: Vec<(usize, usize, f32)>,
}

impl Rounding for TableRounding<'_> {
    type Code = u8;
    type Strip = TableStrip;

    fn unit(&self, block: usize) -> usize {
        block
    }

    fn start(&self, weight: MatrixRef<'_>, first: usize, rows: usize) -> TableStrip {
        let (cols, first) = (weight.cols(), self.first + first);
        let scales = self.tables.scales_of(first, rows);
        let mut removed = vec![Vec::new(); cols];
        if let Some(mask) = self.removed {
            for (position, &col) in self.order.iter().enumerate() {
                let rows = (0..rows).filter(|row| mask[(first + row) * cols + col]);
                removed[position] = rows.collect();
            }
        }
        TableStrip {
            rows,
            lookup: self.tables.lookup(first, rows),
            inverses: scales.iter().copied().map(inverse).collect(),
            scales,
            removed,
            kept: Vec::new(),
        }
    }

    fn fit(&self, _: &mut TableStrip, _: usize, _: &[f32], _: &[f32]) {}

    fn round(
        &self,
        strip: &mut TableStrip,
        position: usize,
        targets: &[f32],
        codes: &mut [u8],
        values: &mut [f32],
    ) {
        let col = self.order[position];
        let group = col / self.tables.size;
        let rows = group * strip.rows..(group + 1) * strip.rows;
        let scales = (&strip.scales[rows.clone()], &strip.inverses[rows]);
        strip.lookup.round(targets, scales, codes, values);
        for &row in &strip.removed[position] {
            values[row] = with_sparse(values[row], targets[row]);
            strip.kept.push((row, col, values[row]));
        }
    }
}
