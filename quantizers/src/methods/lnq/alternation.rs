//! One matrix fitted, on plain slices.

use super::labels::sweep;
use super::objective::Objective;
use super::strip::Strip;
use super::tables::refit;
use crate::MatrixRef;
use crate::methods::QuantizeError;
use crate::statistics::rows_of_group;
use crate::tensor::Codebook;
use rayon::prelude::*;

/// Rows of a strip. More of them share what a product prepares of the Hessian, fewer divide a small matrix among
/// threads. It depends on the matrix alone, so that the number of threads changes no bit.
pub(super) const fn strip_rows(rows: usize) -> usize {
    if rows < 2048 { 64 } else { 256 }
}

/// How long tables and labels take turns.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Alternation {
    /// Turns of both.
    pub iterations: usize,
    /// Sweeps over the labels in each turn, at most.
    pub cycles: usize,
    /// Share of a Hessian's mean diagonal that is added to its diagonal.
    pub damping: f64,
}

/// How a fit went.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// The sum over rows of `e^T H e`, damping included: at the start, and after every step of the strip of rows that
    /// took most of them.
    pub steps: Vec<f64>,
    /// Inputs without any use in the calibration data.
    pub dead: usize,
}

impl Alternation {
    /// Moves the tables and labels of `codebook` (one table per row) towards the least error `e^T H e` of each row of
    /// `weight`; `hessians` `[cols, cols]` of the statistic `name` are those of as many groups of consecutive rows.
    /// Weights in `removed` `[rows * cols]` have no error and are left alone.
    ///
    /// # Errors
    /// A Hessian with impossible values.
    ///
    /// # Panics
    /// When shapes disagree.
    pub fn fit(
        &self,
        weight: MatrixRef<'_>,
        (hessians, name): (&[MatrixRef<'_>], &'static str),
        removed: Option<&[bool]>,
        codebook: &mut Codebook,
    ) -> Result<Progress, QuantizeError> {
        let (rows, cols, entries) = (weight.rows(), weight.cols(), 1 << codebook.bits);
        assert_eq!(codebook.tables.len(), rows * entries, "a table per row");
        assert_eq!(codebook.indices.len(), rows * cols, "an index per weight");
        let mut progress = Progress {
            steps: Vec::new(),
            dead: 0,
        };
        if cols == 0 {
            return Ok(progress);
        }
        let strip = strip_rows(rows);
        for (group, hessian) in hessians.iter().enumerate() {
            let of_group = rows_of_group(group, hessians.len(), rows);
            if of_group.is_empty() {
                continue;
            }
            assert_eq!(
                (hessian.rows(), hessian.cols()),
                (cols, cols),
                "a Hessian of the inputs"
            );
            let objective = Objective::new(*hessian, self.damping, name)?;
            let weights = of_group.start * cols..of_group.end * cols;
            let labels = codebook.indices[weights.clone()].par_chunks_mut(strip * cols);
            let tables = of_group.start * entries..of_group.end * entries;
            let tables = codebook.tables[tables].par_chunks_mut(strip * entries);
            let strips: Vec<Vec<f64>> = labels
                .zip(tables)
                .enumerate()
                .map(|(at, (labels, tables))| {
                    let first = weights.start + at * strip * cols;
                    let own = first..first + labels.len();
                    let fixed = removed.map(|removed| &removed[own.clone()]);
                    let own = &weight.data()[own];
                    let mut strip = Strip::new(&objective, own, fixed, labels, (tables, entries));
                    self.alternate(&mut strip, &objective)
                })
                .collect();
            progress.dead = progress.dead.max(objective.dead);
            for steps in strips {
                progress.add(&steps, objective.unit);
            }
        }
        Ok(progress)
    }
}

impl Alternation {
    /// Takes a strip through its turns; its objective after each step, never more than before it.
    fn alternate(&self, strip: &mut Strip<'_>, objective: &Objective) -> Vec<f64> {
        let mut steps = vec![strip.objective()];
        for _ in 0..self.iterations {
            let moved = refit(strip, objective);
            steps.push(strip.objective());
            let mut changed = 0;
            for _ in 0..self.cycles {
                let in_cycle = sweep(strip, objective);
                changed += in_cycle;
                steps.push(strip.objective());
                if in_cycle == 0 {
                    break;
                }
            }
            if moved == 0 && changed == 0 {
                break;
            }
        }
        steps
    }
}

impl Progress {
    /// Adds the steps of a strip; one that had nothing left to do stays where it was.
    fn add(&mut self, steps: &[f64], unit: f64) {
        let count = self.steps.len().max(steps.len());
        let last = self.steps.last().copied().unwrap_or(0.0);
        self.steps.resize(count, last);
        for (at, sum) in self.steps.iter_mut().enumerate() {
            let own = steps.get(at).or(steps.last());
            *sum += unit * own.copied().unwrap_or(0.0);
        }
    }
}
