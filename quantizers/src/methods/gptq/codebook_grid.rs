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
use crate::statistics::{
    FISHER, GUIDED_GROUPS, HESSIAN, LayerStats, Stat, Statistic, diagonals, guided_hessian,
};
use crate::tensor::{Encoding, QuantizedTensor};
use crate::{FloatType, MatrixRef};

/// Passes of coordinate descent unless another number is asked for.
const PASSES: i64 = 4;

/// Keys that only this grid has.
pub(super) const CODEBOOK_PARAMETERS: [(&str, &str); 7] = {
    let [_, (_, table), _, (_, scale_bits)] = TABLE_PARAMETERS;
    let [outliers, sensitive] = OUTLIER_PARAMETERS;
    [
        ("table", table),
        ("scale_bits", scale_bits),
        (
            "guided",
            "groups of output rows that have a Hessian of their own, weighted with squared loss gradients: 1, 2, 4 or 8, only with `sequential = false`; 0 (default): one plain Hessian",
        ),
        (
            "weights",
            "what the squared errors count by when tables and scales are fitted to the original weights: `fisher`, diagonal Fisher; `inputs` (default), the diagonal of the Hessian; `none`, all alike",
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
    /// 0: the plain Hessian.
    groups: usize,
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
        let groups = parameters.integer("guided", 0..=8)?.unwrap_or(0);
        let groups = usize::try_from(groups)
            .ok()
            .filter(|groups| *groups == 0 || GUIDED_GROUPS.contains(groups))
            .ok_or_else(|| parameters.refuse("guided", "0, 1, 2, 4 or 8"))?;
        if groups != 0 && sequential != Sequential::No {
            let expected =
                "`sequential = false` beside it: gradients are those of the original model";
            return Err(parameters.refuse("guided", expected));
        }
        Ok(Self {
            tables: TableParameters::read(parameters)?,
            outliers: OutlierParameters::read(parameters)?,
            weights: weights.unwrap_or(ErrorWeights::Inputs),
            groups,
            passes: usize::try_from(passes)
                .map_err(|_| parameters.refuse("passes", "a whole number"))?,
            compensation,
            sequential,
        })
    }

    fn statistic(&self) -> &'static Statistic {
        guided_hessian(self.groups).unwrap_or(&HESSIAN)
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
        plan.needs = vec![Stat(self.statistic())];
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
        let hessians = stats.hessians(self.groups, weight.cols())?;
        let fisher = if self.reads_fisher() {
            Some(fisher(weight, stats)?)
        } else {
            None
        };
        let mask = self.outliers.mask(weight, fisher, stats)?;
        // A plain Hessian has one diagonal for all rows.
        let of_rows = if self.groups == 0 { 1 } else { weight.rows() };
        let squares = diagonals(&hessians, of_rows);
        let importance = match (self.weights, fisher) {
            (ErrorWeights::Fisher, Some(fisher)) => Importance::PerWeight(fisher),
            (ErrorWeights::Inputs, _) if self.groups == 0 => Importance::PerInput(&squares),
            (ErrorWeights::Inputs, _) => {
                let squares = MatrixRef::new(&squares, weight.rows(), weight.cols());
                Importance::PerWeight(squares.expect("a diagonal for each row"))
            }
            (ErrorWeights::Fisher | ErrorWeights::Equal, _) => Importance::Equal,
        };
        let codebook = self.tables.fit(weight, importance, mask.as_deref(), plan)?;
        let found = self.compensation.quantize_codebook(
            &codebook,
            weight,
            &hessians,
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
