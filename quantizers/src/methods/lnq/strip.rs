//! A strip of rows between two steps.

use super::objective::Objective;
use crate::codebook::set_thresholds;
use crate::linalg::product::{Strided, multiply};
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

impl<'a> Strip<'a> {
    /// Starts from `labels` and `tables` as they are.
    pub(super) fn new(
        objective: &Objective,
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
        strip.errors = strip.errors_with(strip.tables);
        strip.residuals = products(&strip.errors, objective);
        strip
    }

    /// Rows.
    pub(super) fn rows(&self) -> usize {
        self.tables.len() / self.entries
    }

    /// Whether the weight at `at` is not in the codebook.
    pub(super) fn is_fixed(&self, at: usize) -> bool {
        self.fixed.is_some_and(|fixed| fixed[at])
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

    /// The errors of the labels with `tables`.
    pub(super) fn errors_with(&self, tables: &[f16]) -> Vec<f32> {
        let rows = tables.len() / self.entries;
        let cols = self.weights.len() / rows.max(1);
        let mut errors = Vec::with_capacity(self.weights.len());
        for (row, table) in tables.chunks(self.entries).enumerate() {
            let columns = row * cols..(row + 1) * cols;
            let labels = &self.labels[columns.clone()];
            for (at, (weight, label)) in self.weights[columns].iter().zip(labels).enumerate() {
                errors.push(if self.is_fixed(row * cols + at) {
                    0.0
                } else {
                    table[usize::from(*label)].to_f32() - weight
                });
            }
        }
        errors
    }
}

/// `errors` times `H`, row by row.
pub(super) fn products(errors: &[f32], objective: &Objective) -> Vec<f32> {
    let cols = objective.cols();
    let mut products = vec![0.0; errors.len()];
    let hessian = Strided::row_major(&objective.hessian, cols);
    multiply(
        Strided::row_major(errors, cols),
        hessian,
        &mut products,
        cols,
        false,
    );
    products
}

/// The sum of products, in f64.
pub(super) fn dot(left: &[f32], right: &[f32]) -> f64 {
    let pairs = left.iter().zip(right);
    pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}
