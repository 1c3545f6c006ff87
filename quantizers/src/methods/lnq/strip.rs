//! A strip of rows between two steps.

use super::objective::{Objective, dot};
use crate::codebook::set_thresholds;
use crate::methods::gptq::Feedback;
use half::f16;

/// Rows whose tables and labels are being fitted; all matrices but the tables are `[rows, cols]`.
pub(super) struct Strip<'a> {
    /// Entries of a table.
    pub(super) entries: usize,
    pub(super) weights: &'a [f32],
    /// Weights that are not in the codebook: they have no error, and no label to choose.
    pub(super) fixed: Option<&'a [bool]>,
    pub(super) labels: &'a mut [u8],
    /// `[rows, entries]`, each ascending.
    pub(super) tables: &'a mut [f16],
    /// `w' - w`.
    pub(super) errors: Vec<f32>,
    /// `H e` of each row.
    pub(super) residuals: Vec<f32>,
}

/// Labels that make up for each other's errors.
#[derive(Clone, Copy)]
pub(super) struct Compensated<'a> {
    pub(super) feedback: &'a Feedback,
    /// What the damping of the feedback is above that of the objective.
    pub(super) raised: f32,
    /// `[rows, cols]`.
    pub(super) labels: &'a [u8],
    /// What the objective would have as residuals with the damping of the feedback, `[rows, cols]`.
    pub(super) residuals: &'a [f32],
}

impl<'a> Strip<'a> {
    /// `labels` and `tables` as they are; the residuals are still to be computed.
    pub(super) fn new(
        weights: &'a [f32],
        fixed: Option<&'a [bool]>,
        labels: &'a mut [u8],
        (tables, entries): (&'a mut [f16], usize),
    ) -> Self {
        let mut strip = Self {
            entries,
            weights,
            fixed,
            labels,
            tables,
            errors: Vec::new(),
            residuals: Vec::new(),
        };
        strip.errors = strip.errors_of(strip.labels);
        strip
    }

    /// Computes errors and residuals from the labels and tables.
    pub(super) fn renew(&mut self, objective: &Objective) {
        self.errors = self.errors_of(self.labels);
        self.residuals = objective.products(&self.errors);
    }

    /// Gives each row the labels of `start`, unless it would lose more with them.
    pub(super) fn adopt(&mut self, start: Compensated<'_>, objective: &Objective) {
        let cols = objective.cols();
        let before = std::mem::take(&mut self.errors);
        self.errors = self.errors_of(start.labels);
        self.residuals = start.residuals.to_vec();
        let mut bounds = Vec::with_capacity(self.rows());
        let rows = before.chunks(cols).zip(self.errors.chunks(cols));
        let rows = rows.zip(self.residuals.chunks_mut(cols));
        for ((before, errors), residuals) in rows {
            for (residual, error) in residuals.iter_mut().zip(errors) {
                *residual -= start.raised * error;
            }
            bounds.push(dot(errors, residuals) + f64::from(start.raised) * dot(before, before));
        }
        let better = start.feedback.lose_more(&before, &bounds);
        for (row, better) in better.into_iter().enumerate() {
            let columns = row * cols..(row + 1) * cols;
            if better {
                self.labels[columns.clone()].copy_from_slice(&start.labels[columns]);
            } else {
                let before = &before[columns.clone()];
                self.errors[columns.clone()].copy_from_slice(before);
                self.residuals[columns].copy_from_slice(&objective.products(before));
            }
        }
    }

    /// Rows.
    pub(super) fn rows(&self) -> usize {
        self.tables.len() / self.entries
    }

    /// The table of `row` as f32.
    pub(super) fn values(&self, row: usize) -> Vec<f32> {
        let table = &self.tables[row * self.entries..][..self.entries];
        table.iter().map(|entry| entry.to_f32()).collect()
    }

    /// What lies between the entries of `row`, as [`set_thresholds`] has it.
    pub(super) fn thresholds(&self, row: usize, thresholds: &mut [f32]) {
        set_thresholds(
            &self.tables[row * self.entries..][..self.entries],
            thresholds,
        );
    }

    /// Sum over rows of `e^T H e`.
    pub(super) fn objective(&self) -> f64 {
        dot(&self.errors, &self.residuals)
    }

    /// Puts the table of `row` in ascending order.
    pub(super) fn sort(&mut self, row: usize) {
        let table = &mut self.tables[row * self.entries..][..self.entries];
        if table.is_sorted() {
            return;
        }
        let mut order: Vec<usize> = (0..self.entries).collect();
        order.sort_by(|&a, &b| table[a].total_cmp(&table[b]));
        let sorted: Vec<f16> = order.iter().map(|&from| table[from]).collect();
        table.copy_from_slice(&sorted);
        let mut renamed = [0_u8; 256];
        for (to, from) in (0_u8..=u8::MAX).zip(order) {
            renamed[from] = to;
        }
        let cols = self.labels.len() / (self.tables.len() / self.entries);
        for label in &mut self.labels[row * cols..(row + 1) * cols] {
            *label = renamed[usize::from(*label)];
        }
    }

    /// The errors of `labels`.
    fn errors_of(&self, labels: &[u8]) -> Vec<f32> {
        let cols = self.weights.len() / self.rows().max(1);
        let mut errors = Vec::with_capacity(self.weights.len());
        for row in 0..self.rows() {
            let table = self.values(row);
            let columns = row * cols..(row + 1) * cols;
            let pairs = self.weights[columns.clone()].iter().zip(&labels[columns]);
            errors.extend(pairs.map(|(weight, label)| table[usize::from(*label)] - weight));
        }
        if let Some(fixed) = self.fixed {
            for (error, fixed) in errors.iter_mut().zip(fixed) {
                if *fixed {
                    *error = 0.0;
                }
            }
        }
        errors
    }
}
