//! `lnq`: a table per output row, tables and labels fitted in turn to the layer's output or to the loss.
//!
//! The error `e` of a row costs `e^T H e`. With the plain Hessian `H = X^T X` that is the squared error of the row's
//! output; with guided ones (`crate::statistics::guided_hessian`) an estimate of what the loss pays for it. From the
//! exact weighted k-means on, three steps that never raise it: labels are rounded column by column, each to where it
//! makes up for the errors before it (as GPTQ does; a row that loses more with these keeps its own); then two alternate,
//! for each weight in turn the best label while all others stay, and the best table for the labels in closed form
//! (Kim et al. 2025, `GuidedQuant`, layer-wise non-uniform quantization). Started from the first of these steps, one
//! turn gets lower than three turns of four sweeps from the k-means itself.

mod alternation;
mod labels;
mod objective;
mod strip;
mod tables;
#[cfg(test)]
mod tests;

pub use alternation::{Alternation, Progress};

use super::kmeans::fisher;
use super::outlier_parameters::{OUTLIER_PARAMETERS, OutlierParameters};
use super::parameters::{Parameters, joined};
use super::table_parameters::{index_bits, row_tables};
use super::{
    Cost, LayerPlan, Method, ParamError, QuantizeError, Quantized, Quantizer, Sequential,
    require_finite,
};
use crate::codebook::fit_rows;
use crate::outliers::extract;
use crate::statistics::{
    FISHER, GUIDED_GROUPS, HESSIAN, LayerStats, Stat, Statistic, diagonals, guided_hessian,
};
use crate::tensor::{Codebook, Encoding, QuantizedTensor};
use crate::{FloatType, MatrixRef};

/// Multiplications a thread does in a second, in products and while sums of Hessian rows are made.
const SPEED: f64 = 15e9;
/// Products over all columns that the start and each turn cost: half a product each for the column loop, the residuals
/// it leaves and the system of the tables, and about as much for sweeps, which change few labels.
const PRODUCTS_OF_START: f64 = 1.0;
const PRODUCTS_PER_TURN: f64 = 1.0;
/// Bytes beside each weight of a strip: errors twice, residuals, and what rounding added.
const STRIP_BYTES: usize = 16;
/// Rows of the strips of all threads together, about.
const ROWS_AT_ONCE: usize = 2048;

/// The registry entry.
pub(super) struct Lnq;

const OWN: [(&str, &str); 7] = [
    ("bits", "width of one index, 1 to 8"),
    (
        "guided",
        "groups of output rows that have a Hessian of their own, weighted with squared loss gradients: 1, 2, 4 or 8; 0: one plain Hessian; 1 unless given",
    ),
    (
        "start",
        "weights of the k-means it starts from: `fisher` (default), or `hessian` for the diagonal of the Hessian",
    ),
    (
        "iterations",
        "turns of labels and tables, 0 to 100; 1 unless given; 0: the first tables",
    ),
    (
        "cycles",
        "sweeps over the labels in each turn, at most, 1 to 100; 2 unless given",
    ),
    (
        "damping",
        "share of the mean diagonal of the Hessian added to its diagonal, 0 to 1; 0.01 unless given",
    ),
    (
        "sequential",
        "with `guided = 0` only: `true`: the Hessian is measured behind the quantized blocks before; `false` (default): in the original model",
    ),
];

static PARAMETERS: [(&str, &str); OWN.len() + OUTLIER_PARAMETERS.len()] =
    joined(&OWN, &OUTLIER_PARAMETERS);

/// What the squared errors of the first tables are weighted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    Fisher,
    Hessian,
}

/// A configured [`Lnq`].
#[derive(Debug)]
struct LnqQuantizer {
    bits: u8,
    /// 0: the plain Hessian.
    groups: usize,
    start: Start,
    alternation: Alternation,
    sequential: bool,
    outliers: OutlierParameters,
}

impl Method for Lnq {
    fn name(&self) -> &'static str {
        "lnq"
    }

    fn summary(&self) -> &'static str {
        "values per output row and labels fitted in turn to the least output error, or loss with guided Hessians"
    }

    fn parameters(&self) -> &'static [(&'static str, &'static str)] {
        &PARAMETERS
    }

    fn configure(&self, table: &toml::Table) -> Result<Box<dyn Quantizer>, ParamError> {
        let parameters = Parameters::new(self.name(), &PARAMETERS, table)?;
        let count = |key, range, default| -> Result<usize, ParamError> {
            let number = parameters.integer(key, range)?.unwrap_or(default);
            usize::try_from(number).map_err(|_| parameters.refuse(key, "a whole number"))
        };
        let groups = count("guided", 0..=8, 1)?;
        if groups != 0 && !GUIDED_GROUPS.contains(&groups) {
            return Err(parameters.refuse("guided", "0, 1, 2, 4 or 8"));
        }
        let sequential = parameters.boolean("sequential")?.unwrap_or(false);
        if sequential && groups != 0 {
            let expected = "`false` beside `guided`: gradients are those of the original model";
            return Err(parameters.refuse("sequential", expected));
        }
        let start = parameters.choice(
            "start",
            &[("fisher", Start::Fisher), ("hessian", Start::Hessian)],
        )?;
        Ok(Box::new(LnqQuantizer {
            bits: index_bits(&parameters)?,
            groups,
            start: start.unwrap_or(Start::Fisher),
            alternation: Alternation {
                iterations: count("iterations", 0..=100, 1)?,
                cycles: count("cycles", 1..=100, 2)?,
                damping: parameters.number("damping", 0.0..=1.0)?.unwrap_or(0.01),
            },
            sequential,
            outliers: OutlierParameters::read(&parameters)?,
        }))
    }
}

impl LnqQuantizer {
    fn statistic(&self) -> &'static Statistic {
        guided_hessian(self.groups).unwrap_or(&HESSIAN)
    }

    fn reads_fisher(&self) -> bool {
        self.start == Start::Fisher || self.outliers.reads_fisher()
    }

    /// The weighted k-means of every row.
    fn first(
        &self,
        weight: MatrixRef<'_>,
        hessians: &[MatrixRef<'_>],
        fisher: Option<MatrixRef<'_>>,
        removed: Option<&[bool]>,
    ) -> Result<Codebook, QuantizeError> {
        if let (Start::Fisher, Some(fisher)) = (self.start, fisher) {
            return fit_rows(weight, Some(fisher), removed, self.bits);
        }
        let (rows, cols) = (weight.rows(), weight.cols());
        let importance = diagonals(hessians, rows);
        let importance = MatrixRef::new(&importance, rows, cols);
        let importance = importance.map_err(|_| QuantizeError::StatShape {
            stat: self.statistic().name,
            expected: rows * cols,
            found: cols * hessians.len(),
        })?;
        fit_rows(weight, Some(importance), removed, self.bits)
    }
}

impl Quantizer for LnqQuantizer {
    fn plan(
        &self,
        rows: usize,
        cols: usize,
        stored: FloatType,
    ) -> Result<LayerPlan, QuantizeError> {
        let mut plan = row_tables(Lnq.name(), self.bits, (rows, cols), stored);
        plan.needs = vec![Stat(self.statistic())];
        if self.reads_fisher() {
            plan.needs.push(Stat(&FISHER));
        }
        if self.sequential {
            plan.sequential = Sequential::Blocks;
        }
        let product = rows as f64 * (cols as f64).powi(2);
        let products = PRODUCTS_OF_START + PRODUCTS_PER_TURN * self.alternation.iterations as f64;
        let factor = (cols as f64).powi(3) / 6.0;
        plan.cost = Cost {
            thread_seconds: plan.cost.thread_seconds + (factor + products * product) / SPEED,
            // A Hessian in its own units and its factor in f64 and f32, strips of rows, the weights of the k-means, and
            // indices and residuals of the start.
            scratch_bytes: (16 * cols * cols
                + STRIP_BYTES * rows.min(ROWS_AT_ONCE) * cols
                + 9 * rows * cols) as u64,
        };
        self.outliers.add_to(&mut plan, rows * cols);
        Ok(plan)
    }

    fn quantize(
        &self,
        weight: MatrixRef<'_>,
        _plan: &LayerPlan,
        stats: &LayerStats<'_>,
    ) -> Result<Quantized, QuantizeError> {
        require_finite(weight)?;
        let hessians = stats.hessians(self.groups, weight.cols())?;
        let fisher = if self.reads_fisher() {
            Some(fisher(weight, stats)?)
        } else {
            None
        };
        let removed = self.outliers.mask(weight, fisher, stats)?;
        let mut codebook = self.first(weight, &hessians, fisher, removed.as_deref())?;
        let hessians = (hessians.as_slice(), self.statistic().name);
        let progress = self
            .alternation
            .fit(weight, hessians, removed.as_deref(), &mut codebook)?;
        let outliers = removed
            .map(|removed| extract(weight, &removed, &mut codebook))
            .transpose()?;
        Ok(Quantized {
            tensor: QuantizedTensor {
                rows: weight.rows(),
                cols: weight.cols(),
                encoding: Encoding::Codebook(codebook),
                outliers,
            },
            notes: progress.notes(weight.cols()),
        })
    }
}

impl Progress {
    /// What a reader of the report should know.
    fn notes(&self, cols: usize) -> Vec<String> {
        let mut notes = Vec::new();
        if let (Some(first), Some(last)) = (self.steps.first(), self.steps.last())
            && *first > 0.0
        {
            notes.push(format!(
                "objective {:.3} of what column by column compensation leaves on the first tables",
                last / first
            ));
        }
        if self.dead > 0 {
            notes.push(format!(
                "{} of {cols} inputs are zero in all calibration data: their weights are rounded to nearest",
                self.dead
            ));
        }
        notes
    }
}
