//! One matrix fitted, on plain slices.

use super::labels::sweep;
use super::objective::Objective;
use super::strip::{Compensated, Strip};
use super::tables::refit;
use crate::MatrixRef;
use crate::methods::QuantizeError;
use crate::methods::gptq::{Feedback, Start, start_of_row_tables};
use crate::statistics::rows_of_group;
use crate::tensor::Codebook;
use half::f16;
use rayon::prelude::*;

/// Rows of a strip. More of them share what a product prepares of the Hessian, fewer divide a small matrix among
/// threads. It depends on the matrix alone, so that the number of threads changes no bit.
pub(super) const fn strip_rows(rows: usize) -> usize {
    if rows < 512 {
        64
    } else if rows < 2048 {
        128
    } else {
        256
    }
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
    /// The sum over rows of `e^T H e`, damping included: with the labels that make up for each other's errors on the
    /// first tables, and after every step of the strip of rows that took most of them. Empty without turns.
    pub steps: Vec<f64>,
    /// Inputs without any use in the calibration data.
    pub dead: usize,
}

impl Alternation {
    /// Moves the tables and labels of `codebook` (one table per row) towards the least error `e^T H e` of each row of
    /// `weight`, unless there are no turns. Labels are first rounded column by column, each to where it makes up for the
    /// errors of those before: one pass finds what takes many sweeps from nearest labels. `hessians` `[cols, cols]` of the statistic `name` are those of as many groups of consecutive rows.
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
            progress.dead = progress.dead.max(objective.dead);
            if self.iterations == 0 {
                continue;
            }
            let weights = of_group.start * cols..of_group.end * cols;
            let tables = of_group.start * entries..of_group.end * entries;
            let start = {
                let tables = &codebook.tables[tables.clone()];
                let removed = removed.map(|removed| &removed[weights.clone()]);
                let own = MatrixRef::new(&weight.data()[weights.clone()], of_group.len(), cols);
                let own = own.expect("rows of a matrix");
                self.compensated(own, *hessian, (tables, entries), removed)?
            };
            let labels = codebook.indices[weights.clone()].par_chunks_mut(strip * cols);
            let tables = codebook.tables[tables].par_chunks_mut(strip * entries);
            let strips: Vec<Vec<f64>> = labels
                .zip(tables)
                .enumerate()
                .map(|(at, (labels, tables))| {
                    let own = at * strip * cols..at * strip * cols + labels.len();
                    let start = start.as_ref().map(|(feedback, start)| Compensated {
                        feedback,
                        raised: narrow(feedback.damping - self.damping),
                        labels: &start.indices[own.clone()],
                        residuals: &start.residuals[own.clone()],
                    });
                    let own = weights.start + own.start..weights.start + own.end;
                    let fixed = removed.map(|removed| &removed[own.clone()]);
                    let own = &weight.data()[own];
                    let mut strip = Strip::new(own, fixed, labels, (tables, entries));
                    self.alternate(&mut strip, &objective, start)
                })
                .collect();
            for steps in strips {
                progress.add(&steps, objective.unit);
            }
        }
        Ok(progress)
    }
}

impl Alternation {
    /// Labels of entries of `tables` that make up for each other's errors; nothing where the Hessian is not that of any
    /// inputs.
    ///
    /// # Errors
    /// A Hessian with impossible values.
    fn compensated(
        &self,
        weight: MatrixRef<'_>,
        hessian: MatrixRef<'_>,
        tables: (&[f16], usize),
        removed: Option<&[bool]>,
    ) -> Result<Option<(Feedback, Start)>, QuantizeError> {
        match Feedback::new(hessian, self.damping, true) {
            Ok(feedback) => {
                let start = start_of_row_tables(weight, &feedback, tables, removed);
                Ok(Some((feedback, start)))
            }
            Err(QuantizeError::NotPositive { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Takes a strip through its turns, from the labels of `start` where a row loses less with them; its objective after
    /// each step, never more than before it.
    fn alternate(
        &self,
        strip: &mut Strip<'_>,
        objective: &Objective,
        start: Option<Compensated<'_>>,
    ) -> Vec<f64> {
        match start {
            Some(start) => strip.adopt(start, objective),
            None => strip.renew(objective),
        }
        let mut steps = vec![strip.objective()];
        for turn in 1..=self.iterations {
            let mut changed = 0;
            for _ in 0..self.cycles {
                let in_cycle = sweep(strip, objective);
                changed += in_cycle;
                steps.push(strip.objective());
                if in_cycle == 0 {
                    break;
                }
            }
            let done = refit(strip, objective);
            steps.push(strip.objective() - done.gain);
            if done.moved == 0 && changed == 0 {
                break;
            }
            if turn < self.iterations {
                strip.renew(objective);
            }
        }
        steps
    }
}

#[expect(clippy::cast_possible_truncation, reason = "residuals are in f32")]
fn narrow(value: f64) -> f32 {
    value as f32
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
