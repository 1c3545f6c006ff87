//! One matrix rounded with compensation to tables and local scales, on plain slices.

use super::columns::Columns;
use super::compensation::Compensation;
use super::descent::{Curvature, Strip};
use super::feedback::Feedback;
use super::refit::{MOST_ENTRIES, Normal, ascending, quadratic_loss, tables_of};
use super::tables::{TableRounding, Tables};
use crate::MatrixRef;
use crate::codebook::scaled::Levels;
use crate::methods::{QuantizeError, require_finite};
use crate::tensor::{Codebook, Csr};
use half::f16;
use rayon::prelude::*;

/// A matrix rounded with compensation to a codebook.
#[derive(Debug, Clone, PartialEq)]
pub struct CompensatedCodebook {
    /// Indices, tables and scales.
    pub codebook: Codebook,
    /// Sparse values of the weights that were removed, where any could be.
    pub outliers: Option<Csr>,
    /// Damping used; more than asked for where the factorisation failed with that.
    pub damping: f64,
    /// Inputs that were zero in all calibration data.
    pub dead: usize,
}

impl Compensation {
    /// Rounds `weight` to the entries and scales of `codebook`, whose indices are not read; `hessian` is `X^T X`
    /// `[cols, cols]` up to a factor. Weights marked in `removed` `[rows * cols]` also have a sparse value.
    ///
    /// After the column loop each of `passes` refits the tables, then visits every index and every scale once more
    /// (`descent.rs`); none raises the loss on the damped Hessian.
    ///
    /// # Errors
    /// A Hessian with impossible values, a weight that is not finite, a sparse value that f16 cannot hold.
    ///
    /// # Panics
    /// When shapes disagree, or `block_size` is 0.
    pub fn quantize_codebook(
        &self,
        codebook: &Codebook,
        weight: MatrixRef<'_>,
        hessian: MatrixRef<'_>,
        removed: Option<&[bool]>,
        passes: usize,
    ) -> Result<CompensatedCodebook, QuantizeError> {
        require_finite(weight)?;
        let (rows, cols) = (weight.rows(), weight.cols());
        assert_eq!(
            (hessian.rows(), hessian.cols()),
            (cols, cols),
            "a Hessian of the inputs"
        );
        let feedback = Feedback::new(hessian, self.damping, self.act_order)?;
        let mut done = CompensatedCodebook {
            codebook: codebook.clone(),
            outliers: None,
            damping: feedback.damping,
            dead: feedback.dead,
        };
        if rows * cols > 0 {
            let tables = Tables::of(codebook, rows, cols);
            let rounding = TableRounding {
                tables: &tables,
                order: &feedback.order,
                removed,
            };
            let rounded = Columns::new(&rounding, &feedback, self.block_size).round(weight);
            let strips = rounded.strips.into_iter();
            let mut solution = Solution {
                weight,
                codes: rounded.codes,
                kept: strips.map(|(_, strip)| strip.kept).collect(),
                tables,
            };
            if passes > 0 {
                let curvature = Curvature::new(hessian, feedback.mean, feedback.damping);
                for _ in 0..passes {
                    solution.refit_tables(&curvature);
                    solution.visit(&curvature);
                }
            }
            done.outliers = solution.store(&mut done.codebook, removed.is_some())?;
        } else if removed.is_some() {
            done.outliers = Some(Csr {
                row_pointers: vec![0; rows + 1],
                ..Csr::default()
            });
        }
        Ok(done)
    }
}

/// Indices, tables and scales of a matrix on their way.
struct Solution<'a> {
    weight: MatrixRef<'a>,
    tables: Tables,
    /// `[rows, cols]`.
    codes: Vec<u8>,
    /// For each strip of rows, the weights that have a sparse value: row of the strip, column, and what they are.
    kept: Vec<Vec<(usize, usize, f32)>>,
}

impl Solution<'_> {
    /// Rows of a strip; the last may have less.
    fn strip_rows(&self) -> usize {
        super::columns::strip(self.weight.rows())
    }

    /// `work` on every strip, in the order of the rows.
    fn strips<T: Send>(&self, work: impl Fn(&Strip) -> T + Sync) -> Vec<T> {
        let rows = self.strip_rows();
        let strips = self.codes.par_chunks(rows * self.weight.cols());
        let strips = strips.zip(&self.kept).enumerate();
        strips
            .map(|(at, (codes, kept))| {
                let strip = Strip::new(&self.tables, self.weight, at * rows, codes, kept);
                work(&strip)
            })
            .collect()
    }

    /// Visits every index and every scale.
    fn visit(&mut self, curvature: &Curvature) {
        let (rows, weight, tables) = (self.strip_rows(), self.weight, &self.tables);
        let mut scales = tables.scales.as_ref().map(|scales| scales.values.clone());
        let mut strips: Vec<Option<&mut [f32]>> = match &mut scales {
            Some(scales) => scales.chunks_mut(rows * tables.groups).map(Some).collect(),
            None => self.kept.iter().map(|_| None).collect(),
        };
        let work = self.codes.par_chunks_mut(rows * weight.cols());
        let work = work.zip(&mut self.kept).zip(&mut strips).enumerate();
        work.for_each(|(at, ((codes, kept), scales))| {
            let mut strip = Strip::new(tables, weight, at * rows, codes, kept);
            strip.pass(curvature, tables);
            *kept = strip.store(codes, scales.as_deref_mut());
        });
        if let (Some(stored), Some(scales)) = (&mut self.tables.scales, scales) {
            stored.values = scales;
        }
    }

    /// Moves the entries of every table to where they lose least.
    fn refit_tables(&mut self, curvature: &Curvature) {
        let count = self.tables.levels.len();
        let entries = self.tables.levels[0].entries.len();
        if entries > MOST_ENTRIES {
            return;
        }
        let tables = &self.tables;
        let mut normals = vec![Normal::new(entries); count];
        let found = self.strips(|strip| {
            let normals = Normal::of_strip(strip, curvature, tables);
            (tables_of(tables, strip), normals)
        });
        for (range, found) in found {
            let pairs = normals[range].iter_mut().zip(&found);
            pairs.for_each(|(normal, found)| normal.add(found));
        }
        let pairs = normals.iter().zip(&tables.levels);
        let mut moved: Vec<Option<Vec<f16>>> =
            pairs.map(|(normal, levels)| normal.step(levels)).collect();
        let mut losses = vec![0.0; count];
        let found = self.strips(|strip| {
            let losses = quadratic_loss(strip, curvature, tables, &moved);
            (tables_of(tables, strip), losses)
        });
        for (range, found) in found {
            let pairs = losses[range].iter_mut().zip(found);
            pairs.for_each(|(loss, found)| *loss += found);
        }
        let figures = normals.iter().zip(&losses).zip(&tables.levels);
        for (moved, ((normal, loss), levels)) in moved.iter_mut().zip(figures) {
            let helps = |table: &Vec<f16>| normal.linear_gain(levels, table) > *loss;
            *moved = moved.take().filter(helps);
        }
        self.replace(&moved);
    }

    /// Puts `moved` tables in place of the old ones, with the indices that go with them.
    fn replace(&mut self, moved: &[Option<Vec<f16>>]) {
        let together = self.tables.together * self.weight.cols();
        let tables = self.tables.levels.par_iter_mut().zip(moved);
        let work = tables.zip(self.codes.par_chunks_mut(together));
        work.for_each(|((levels, moved), codes)| {
            let Some(moved) = moved else {
                return;
            };
            let (table, places) = ascending(moved);
            *levels = Levels::new(&table);
            for code in codes {
                *code = places[usize::from(*code)];
            }
        });
    }

    /// Writes what was found to `codebook`; with `sparse`, the sparse values that go with it.
    fn store(self, codebook: &mut Codebook, sparse: bool) -> Result<Option<Csr>, QuantizeError> {
        let (rows, cols, strip_rows) = (self.weight.rows(), self.weight.cols(), self.strip_rows());
        codebook.indices = self.codes;
        let entries = self.tables.levels.iter().flat_map(|levels| &levels.entries);
        codebook.tables = entries.map(|entry| f16::from_f32(*entry)).collect();
        if let (Some(scales), Some(stored)) = (self.tables.scales, &mut codebook.scales) {
            *stored = scales.into_tensor(stored.granularity);
        }
        if !sparse {
            return Ok(None);
        }
        let mut csr = Csr {
            row_pointers: vec![0],
            ..Csr::default()
        };
        let index =
            |count: usize| u32::try_from(count).map_err(|_| QuantizeError::TooLarge { count });
        for (at, mut kept) in self.kept.into_iter().enumerate() {
            kept.sort_by_key(|(row, col, _)| (*row, *col));
            let (first, mut kept) = (at * strip_rows, kept.into_iter().peekable());
            for row in 0..strip_rows.min(rows - first) {
                while let Some((_, col, value)) = kept.next_if(|(of, ..)| *of == row) {
                    let group = col / codebook.group_size(cols);
                    let values = codebook.values_of(first + row, group, (rows, cols));
                    let dense = values[usize::from(codebook.indices[(first + row) * cols + col])];
                    let rest = f16::from_f32(value - dense);
                    if !rest.is_finite() {
                        let row = first + row;
                        return Err(QuantizeError::HalfRange { row, col, value });
                    }
                    csr.columns.push(index(col)?);
                    csr.values.push(rest);
                }
                csr.row_pointers.push(index(csr.columns.len())?);
            }
        }
        Ok(Some(csr))
    }
}
