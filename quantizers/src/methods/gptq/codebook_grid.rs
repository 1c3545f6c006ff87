//! `gptq` with `grid = "codebook"`: tables and local scales in place of a uniform grid.

use super::compensation::Compensation;
use super::{COLUMN_SPEED, Gptq, STRIP_BYTES, STRIP_ROWS, cost, notes};
use crate::codebook::scaled::Importance;
use crate::methods::kmeans::{ErrorWeights, fisher};
use crate::methods::outlier_parameters::{OUTLIER_PARAMETERS, OutlierParameters};
use crate::methods::parameters::Parameters;
use crate::methods::table_parameters::{TABLE_PARAMETERS, TableParameters};
use crate::methods::{
    LayerPlan, Method, ParamError, QuantizeError, Quantized, Quantizer, Sequential, require_finite,
};
use crate::statistics::{FISHER, HESSIAN, LayerStats, Stat};
use crate::tensor::{Encoding, QuantizedTensor};
use crate::{FloatType, MatrixRef};

/// Passes of coordinate descent unless another number is asked for.
const PASSES: i64 = 4;

/// Keys that only this grid has.
pub(super) const CODEBOOK_PARAMETERS: [(&str, &str); 6] = {
    let [_, (_, table), _, (_, scale_bits)] = TABLE_PARAMETERS;
    let [outliers, sensitive] = OUTLIER_PARAMETERS;
    [
        ("table", table),
        ("scale_bits", scale_bits),
        (
            "weights",
            "what the squared errors count by when tables and scales are fitted to the original weights: `fisher`, diagonal Fisher; `inputs` (default), mean squares of the inputs; `none`, all alike",
        ),
        (
            "passes",
            "how often tables are refitted, and every index and scale visited once more, after the column loop, 0 to 64; 4 unless given",
        ),
        outliers,
        sensitive,
    ]
};

/// Keys of uniform grids that mean nothing beside tables.
const UNIFORM_ONLY: [&str; 8] = [
    "granularity",
    "symmetric",
    "group_size_fallback",
    "scale_type",
    "arithmetic",
    "activation_bits",
    "static_groups",
    "clip",
];

/// Refuses keys of the grid that was not chosen.
pub(super) fn refuse_others(
    parameters: &Parameters<'_>,
    table: &toml::Table,
    is_codebook: bool,
) -> Result<(), ParamError> {
    let refused = |key: &&&str| table.contains_key(**key);
    if is_codebook {
        UNIFORM_ONLY.iter().find(refused).map_or(Ok(()), |key| {
            Err(parameters.refuse(key, "no such key beside `grid = \"codebook\"`"))
        })
    } else {
        let mut own = CODEBOOK_PARAMETERS.iter().map(|(key, _)| key);
        own.find(refused).map_or(Ok(()), |key| {
            Err(parameters.refuse(key, "`grid = \"codebook\"` beside it"))
        })
    }
}

/// A configured [`Gptq`] on tables.
#[derive(Debug)]
pub(super) struct CodebookQuantizer {
    tables: TableParameters,
    outliers: OutlierParameters,
    weights: ErrorWeights,
    passes: usize,
    compensation: Compensation,
    sequential: Sequential,
}

impl CodebookQuantizer {
    pub(super) fn read(
        parameters: &Parameters<'_>,
        compensation: Compensation,
        sequential: Sequential,
    ) -> Result<Self, ParamError> {
        let weights = parameters.choice("weights", &ErrorWeights::CHOICES)?;
        let passes = parameters.integer("passes", 0..=64)?.unwrap_or(PASSES);
        Ok(Self {
            tables: TableParameters::read(parameters)?,
            outliers: OutlierParameters::read(parameters)?,
            weights: weights.unwrap_or(ErrorWeights::Inputs),
            passes: usize::try_from(passes)
                .map_err(|_| parameters.refuse("passes", "a whole number"))?,
            compensation,
            sequential,
        })
    }

    fn reads_fisher(&self) -> bool {
        self.weights == ErrorWeights::Fisher || self.outliers.reads_fisher()
    }
}

impl Quantizer for CodebookQuantizer {
    fn plan(
        &self,
        rows: usize,
        cols: usize,
        stored: FloatType,
    ) -> Result<LayerPlan, QuantizeError> {
        let mut plan = self.tables.plan(Gptq.name(), (rows, cols), stored);
        self.outliers.add_to(&mut plan, rows * cols);
        plan.needs = vec![Stat(&HESSIAN)];
        if self.reads_fisher() {
            plan.needs.push(Stat(&FISHER));
        }
        plan.sequential = self.sequential;
        let fit = plan.cost.thread_seconds;
        plan.cost = cost(rows, cols);
        // A pass is three products of the weights and the Hessian, the column loop half of one.
        let products = 3.0 * self.passes as f64;
        plan.cost.thread_seconds +=
            fit + products * rows as f64 * (cols as f64).powi(2) / COLUMN_SPEED;
        // The damped Hessian, weights of the squared errors, a second strip.
        plan.cost.scratch_bytes +=
            (4 * cols * cols + 4 * rows * cols + STRIP_BYTES * rows.min(STRIP_ROWS) * cols) as u64;
        Ok(plan)
    }

    fn quantize(
        &self,
        weight: MatrixRef<'_>,
        plan: &LayerPlan,
        stats: &LayerStats<'_>,
    ) -> Result<Quantized, QuantizeError> {
        require_finite(weight)?;
        let hessian = stats.hessian(weight.cols())?;
        let fisher = if self.reads_fisher() {
            Some(fisher(weight, stats)?)
        } else {
            None
        };
        let mask = self.outliers.mask(weight, fisher, stats)?;
        let squares: Vec<f32> = (0..weight.cols())
            .map(|col| hessian.row(col)[col].max(0.0))
            .collect();
        let importance = match (self.weights, fisher) {
            (ErrorWeights::Fisher, Some(fisher)) => Importance::PerWeight(fisher),
            (ErrorWeights::Inputs, _) => Importance::PerInput(&squares),
            (ErrorWeights::Fisher | ErrorWeights::Equal, _) => Importance::Equal,
        };
        let codebook = self.tables.fit(weight, importance, mask.as_deref(), plan)?;
        let found = self.compensation.quantize_codebook(
            &codebook,
            weight,
            &[hessian],
            mask.as_deref(),
            self.passes,
        )?;
        Ok(Quantized {
            tensor: QuantizedTensor {
                rows: weight.rows(),
                cols: weight.cols(),
                encoding: Encoding::Codebook(found.codebook),
                outliers: found.outliers,
            },
            notes: notes(
                self.compensation.damping,
                found.damping,
                found.dead,
                weight.cols(),
            ),
        })
    }
}
