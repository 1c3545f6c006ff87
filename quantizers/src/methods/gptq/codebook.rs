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
use crate::statistics::rows_of_group;
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
    /// Rounds `weight` to the entries and scales of `codebook`, whose indices are not read. Each of `hessians`, `X^T X`
    /// `[cols, cols]` up to a factor or another measure of what errors cost, is for as many consecutive rows, nearly:
    /// number `k` of `n` for those of [`rows_of_group`]. Weights marked in `removed` `[rows * cols]`
    /// also have a sparse value.
    ///
    /// After the column loop each of `passes` refits the tables, then visits every index and every scale once more
    /// (`descent.rs`); none raises the loss on the damped Hessian.
    ///
    /// # Errors
    /// A Hessian with impossible values, a weight that is not finite, a sparse value that f16 cannot hold.
    ///
    /// # Panics
    /// When shapes disagree, there is no Hessian, or `block_size` is 0.
    pub fn quantize_codebook(
        &self,
        codebook: &Codebook,
        weight: MatrixRef<'_>,
        hessians: &[MatrixRef<'_>],
        removed: Option<&[bool]>,
        passes: usize,
    ) -> Result<CompensatedCodebook, QuantizeError> {
        require_finite(weight)?;
        let (rows, cols) = (weight.rows(), weight.cols());
        assert!(!hessians.is_empty(), "a Hessian of the inputs");
        let mut done = CompensatedCodebook {
            codebook: codebook.clone(),
            outliers: None,
            damping: self.damping,
            dead: 0,
        };
        if rows * cols == 0 {
            done.outliers = removed.map(|_| Csr {
                row_pointers: vec![0; rows + 1],
                ..Csr::default()
            });
            return Ok(done);
        }
        let mut solution = Solution {
            weight,
            tables: Tables::of(codebook, rows, cols),
            codes: Vec::with_capacity(rows * cols),
            curvatures: Vec::new(),
            strips: Vec::new(),
        };
        for (group, hessian) in hessians.iter().enumerate() {
            let shape = (hessian.rows(), hessian.cols());
            assert_eq!(shape, (cols, cols), "a Hessian of the inputs");
            let own = rows_of_group(group, hessians.len(), rows);
            if own.is_empty() {
                continue;
            }
            let feedback = Feedback::new(*hessian, self.damping, self.act_order)?;
            done.damping = done.damping.max(feedback.damping);
            done.dead = done.dead.max(feedback.dead);
            let rounding = TableRounding {
                tables: &solution.tables,
                order: &feedback.order,
                first: own.start,
                removed,
            };
            let part = &weight.data()[own.start * cols..own.end * cols];
            let part = MatrixRef::new(part, own.len(), cols);
            let part = part.expect("rows of a matrix");
            let rounded = Columns::new(&rounding, &feedback, self.block_size).round(part);
            solution.codes.extend(rounded.codes);
            let mut first = own.start;
            for (rows, strip) in rounded.strips {
                solution.strips.push(StripRows {
                    first,
                    rows,
                    curvature: solution.curvatures.len(),
                    kept: strip.kept,
                });
                first += rows;
            }
            if passes > 0 {
                let curvature = Curvature::new(*hessian, feedback.mean, feedback.damping);
                solution.curvatures.push(curvature);
            }
        }
        for _ in 0..passes {
            solution.refit_tables();
            solution.visit();
        }
        done.outliers = solution.store(&mut done.codebook, removed.is_some())?;
        Ok(done)
    }
}

/// Rows that are worked on together.
struct StripRows {
    first: usize,
    rows: usize,
    /// Place of their Hessian.
    curvature: usize,
    /// Weights that have a sparse value: row of the strip, column, and what they are.
    kept: Vec<(usize, usize, f32)>,
}

/// Indices, tables and scales of a matrix on their way.
struct Solution<'a> {
    weight: MatrixRef<'a>,
    tables: Tables,
    /// `[rows, cols]`.
    codes: Vec<u8>,
    curvatures: Vec<Curvature>,
    /// In the order of their rows, without gaps.
    strips: Vec<StripRows>,
}

impl Solution<'_> {
    /// `work` on every strip, in the order of the rows.
    fn strips<T: Send>(&self, work: impl Fn(&Strip, &Curvature) -> T + Sync) -> Vec<T> {
        let cols = self.weight.cols();
        let strips = self.strips.par_iter();
        strips
            .map(|rows| {
                let codes = &self.codes[rows.first * cols..(rows.first + rows.rows) * cols];
                let strip = Strip::new(&self.tables, self.weight, rows.first, codes, &rows.kept);
                work(&strip, &self.curvatures[rows.curvature])
            })
            .collect()
    }

    /// Visits every index and every scale.
    fn visit(&mut self) {
        let (weight, tables, curvatures) = (self.weight, &self.tables, &self.curvatures);
        let stored = tables.scales.as_ref();
        let mut scales = stored.map_or(Vec::new(), |scales| scales.values.clone());
        let groups = stored.map_or(0, |_| tables.groups);
        let (mut codes_left, mut scales_left) = (self.codes.as_mut_slice(), scales.as_mut_slice());
        let mut work = Vec::with_capacity(self.strips.len());
        for rows in &mut self.strips {
            let (codes, scales);
            (codes, codes_left) = codes_left.split_at_mut(rows.rows * weight.cols());
            (scales, scales_left) = scales_left.split_at_mut(rows.rows * groups);
            work.push((rows, codes, scales));
        }
        work.into_par_iter().for_each(|(rows, codes, scales)| {
            let mut strip = Strip::new(tables, weight, rows.first, codes, &rows.kept);
            strip.pass(&curvatures[rows.curvature], tables);
            rows.kept = strip.store(codes, scales);
        });
        if let Some(stored) = &mut self.tables.scales {
            stored.values = scales;
        }
    }

    /// Moves the entries of every table to where they lose least.
    fn refit_tables(&mut self) {
        let count = self.tables.levels.len();
        let entries = self.tables.levels[0].entries.len();
        if entries > MOST_ENTRIES {
            return;
        }
        let tables = &self.tables;
        let mut normals = vec![Normal::new(entries); count];
        let found = self.strips(|strip, curvature| {
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
        let found = self.strips(|strip, curvature| {
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
        let (rows, cols) = (self.weight.rows(), self.weight.cols());
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
        for mut strip in self.strips {
            strip.kept.sort_by_key(|(row, col, _)| (*row, *col));
            let mut kept = strip.kept.into_iter().peekable();
            for of in 0..strip.rows {
                let row = strip.first + of;
                while let Some((_, col, value)) = kept.next_if(|(other, ..)| *other == of) {
                    let group = col / codebook.group_size(cols);
                    let values = codebook.values_of(row, group, (rows, cols));
                    let dense = values[usize::from(codebook.indices[row * cols + col])];
                    let rest = f16::from_f32(value - dense);
                    if !rest.is_finite() {
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
