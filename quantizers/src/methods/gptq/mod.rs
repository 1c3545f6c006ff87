//! GPTQ: round column by column, and let what is not rounded yet make up for the error.
//!
//! The error of a layer's output over the calibration tokens is `tr(D H D^T)`, `D` the error of the
//! weights and `H = X^T X`. Once some columns are rounded, the others have a best value that is not
//! the original one (`feedback.rs`); each column in turn is rounded from there.
//!
//! * Damping: `damping` times the mean of the diagonal (of the inputs that are ever non-zero) is
//!   added to it, and more where the factorisation needs more.
//! * Inputs that are zero in all calibration data ("dead") have no Hessian to be rounded by; their
//!   weights are rounded to nearest, not set to zero, because other data may use them.
//! * Group grids are fitted to the weights as they are when their group begins, or with
//!   `static_groups` to the original weights.
//! * `act_order`: columns by descending diagonal. Groups of the current weights are then groups of
//!   that order and every column stores its group; groups of the original weights stay neighbours.
//!
//! * A grid may also be a codebook (`codebook_grid.rs`): tables and local scales fitted to the original weights, from
//!   which every column takes the nearest value.
//!
//! Frantar et al. 2022, arXiv 2210.17323.

mod columns;
mod feedback;
mod groups;
mod compensation;
mod tables;
mod descent;
mod refit;
mod codebook;
mod codebook_grid;
mod residuals;
mod row_tables;

pub use codebook::CompensatedCodebook;
pub use compensation::{Compensated, Compensation};
pub use feedback::Feedback;
pub(super) use row_tables::{Start, start_of_row_tables};

use codebook_grid::{CODEBOOK_PARAMETERS, CodebookQuantizer, refuse_others};

use crate::methods::clipping::Clip;
use crate::methods::grid_parameters::{GRID_PARAMETERS, GridParameters, beside_grid};
use crate::methods::parameters::Parameters;
use crate::methods::{
    Cost, LayerPlan, Method, ParamError, QuantizeError, Quantized, Quantizer, Sequential, range,
};
use crate::statistics::{HESSIAN, LayerStats, Stat};
use crate::tensor::{Encoding, QuantizedTensor};
use crate::{FloatType, Granularity, MatrixRef};

/// Multiplications a thread does in a second, in the factor and in the column loop.
const FACTOR_SPEED: f64 = 12e9;
const COLUMN_SPEED: f64 = 40e9;
/// Rows whose columns are held apart at a time, by all threads together, and bytes of each weight there.
const STRIP_ROWS: usize = 2048;
const STRIP_BYTES: usize = 9;

/// The registry entry.
pub(super) struct Gptq;

/// The keys of every grid, and how columns are taken.
static PARAMETERS: [(&str, &str); GRID_PARAMETERS.len() + 8 + CODEBOOK_PARAMETERS.len()] = {
    let [
        table,
        scale_bits,
        guided,
        weights,
        passes,
        outliers,
        sensitive,
    ] = CODEBOOK_PARAMETERS;
    beside_grid(&[
        (
            "grid",
            "`uniform` (default), or `codebook`: tables and local scales, with `table`, `group_size`, `scale_bits`, `guided`, `weights`, `passes`, `outlier_fraction` and `sensitive_fraction`",
        ),
        (
            "damping",
            "share of the mean diagonal of the Hessian added to its diagonal, 0 to 1; 0.01 unless given, raised where that is too little",
        ),
        (
            "act_order",
            "`true`: columns by descending diagonal of the Hessian; `false` (default): in their own order",
        ),
        (
            "static_groups",
            "`true`: group scales of the original weights, so that `act_order` needs no group index; `false` (default): of the weights as compensated so far",
        ),
        (
            "clip",
            "`mse`, `input_mse`: as for `rtn`, each grid of the original weights ends where it loses least; `none` (default): at the largest weight",
        ),
        (
            "block_size",
            "columns between two products, 1 to 65536; 128 unless given; speed only",
        ),
        (
            "sequential",
            "`true` (default): the Hessian is measured behind the quantized blocks before; `false`: in the original model",
        ),
        (
            "true_sequential",
            "`true`: the Hessian is measured behind every quantized layer before, also of the same block; `false` (default)",
        ),
        table,
        scale_bits,
        guided,
        weights,
        passes,
        outliers,
        sensitive,
    ])
};

impl Method for Gptq {
    fn name(&self) -> &'static str {
        "gptq"
    }

    fn summary(&self) -> &'static str {
        "uniform grid or codebook, rounded column by column; later columns make up for the errors of earlier ones (Hessian)"
    }

    fn parameters(&self) -> &'static [(&'static str, &'static str)] {
        &PARAMETERS
    }

    fn configure(&self, table: &toml::Table) -> Result<Box<dyn Quantizer>, ParamError> {
        let parameters = Parameters::new(self.name(), self.parameters(), table)?;
        let flag = |key, default| Ok(parameters.boolean(key)?.unwrap_or(default));
        let block_size = parameters
            .integer("block_size", 1..=1 << 16)?
            .unwrap_or(128);
        let sequential = match (flag("sequential", true)?, flag("true_sequential", false)?) {
            (true, true) => Sequential::Layers,
            (true, false) => Sequential::Blocks,
            (false, false) => Sequential::No,
            (false, true) => {
                return Err(parameters.refuse("sequential", "`true` beside `true_sequential`"));
            }
        };
        let compensation = Compensation {
            damping: parameters.number("damping", 0.0..=1.0)?.unwrap_or(0.01),
            act_order: flag("act_order", false)?,
            static_groups: flag("static_groups", false)?,
            block_size: usize::try_from(block_size)
                .map_err(|_| parameters.refuse("block_size", "a whole number"))?,
        };
        let grids = [("uniform", false), ("codebook", true)];
        let is_codebook = parameters.choice("grid", &grids)?.unwrap_or(false);
        refuse_others(&parameters, table, is_codebook)?;
        if is_codebook {
            let quantizer = CodebookQuantizer::read(&parameters, compensation, sequential)?;
            return Ok(Box::new(quantizer));
        }
        let grid = GridParameters::read(&parameters)?;
        let clip = parameters.choice("clip", &Clip::CHOICES)?;
        let clip = clip.unwrap_or(Clip::Nothing);
        let current = matches!(grid.granularity, Granularity::Group(_));
        if clip != Clip::Nothing && current && !compensation.static_groups {
            return Err(parameters.refuse("clip", "`static_groups = true` beside it"));
        }
        Ok(Box::new(GptqQuantizer {
            grid,
            compensation,
            sequential,
            clip,
        }))
    }
}

/// What the factor and the column loop cost for a matrix `[rows, cols]`.
fn cost(rows: usize, cols: usize) -> Cost {
    let (height, width) = (rows as f64, cols as f64);
    Cost {
        thread_seconds: width.powi(3) / 6.0 / FACTOR_SPEED
            + height * width * width / 2.0 / COLUMN_SPEED,
        // The factor in f64 and in f32, then strips of rows.
        scratch_bytes: (12 * cols * cols + STRIP_BYTES * rows.min(STRIP_ROWS) * cols) as u64,
    }
}

/// What a reader of the report should know about the Hessian of a layer with `cols` inputs.
fn notes(asked: f64, damping: f64, dead: usize, cols: usize) -> Vec<String> {
    let mut notes = Vec::new();
    if damping > asked {
        notes.push(format!(
            "damping raised from {asked} to {damping}: with less the Hessian has no factor"
        ));
    }
    if dead > 0 {
        notes.push(format!(
            "{dead} of {cols} inputs are zero in all calibration data: their weights are rounded to nearest"
        ));
    }
    notes
}

#[derive(Debug)]
struct GptqQuantizer {
    grid: GridParameters,
    compensation: Compensation,
    sequential: Sequential,
    clip: Clip,
}

impl Quantizer for GptqQuantizer {
    fn plan(
        &self,
        rows: usize,
        cols: usize,
        stored: FloatType,
    ) -> Result<LayerPlan, QuantizeError> {
        let mut plan = self
            .grid
            .plan(Gptq.name(), (rows, cols), stored, COLUMN_SPEED)?;
        let grouped = matches!(plan.scheme.granularity, Granularity::Group(_));
        let Compensation {
            act_order,
            static_groups,
            ..
        } = self.compensation;
        plan.scheme.column_groups = grouped && act_order && !static_groups;
        plan.needs = vec![Stat(&HESSIAN)];
        plan.sequential = self.sequential;
        plan.cost = cost(rows, cols);
        Ok(plan)
    }

    fn quantize(
        &self,
        weight: MatrixRef<'_>,
        plan: &LayerPlan,
        stats: &LayerStats<'_>,
    ) -> Result<Quantized, QuantizeError> {
        let hessian = stats.hessian(weight.cols())?;
        let grid = self.grid.grid(plan.weight_type);
        let granularity = plan.scheme.granularity;
        range::require_weights(weight, grid)?;
        let found =
            self.compensation
                .quantize_clipped(grid, granularity, weight, hessian, self.clip)?;
        range::require_scales(weight, &found.uniform)?;
        Ok(Quantized {
            tensor: QuantizedTensor {
                rows: weight.rows(),
                cols: weight.cols(),
                encoding: Encoding::Uniform(found.uniform),
                outliers: None,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::FISHER;

    fn configure(text: &str) -> Result<Box<dyn Quantizer>, ParamError> {
        Gptq.configure(&text.parse().unwrap())
    }

    fn plan(text: &str, cols: usize) -> LayerPlan {
        let quantizer = configure(text).unwrap();
        quantizer.plan(64, cols, FloatType::F16).unwrap()
    }

    #[test]
    fn a_rule_becomes_a_plan() {
        let rule = "bits = 4\ngroup_size = 128\ngroup_size_fallback = \"smaller\"";
        let found = plan(rule, 576);
        assert_eq!(found.scheme.granularity, Granularity::Group(64));
        assert!(found.notes[0].contains("groups of 64"), "{:?}", found.notes);
        assert_eq!(found.needs, [Stat(&HESSIAN)]);
        assert_eq!(found.sequential, Sequential::Blocks);
        assert!(!found.scheme.column_groups);
        // An index per column only where the order scatters the groups.
        let ordered = |more: &str| plan(&format!("{rule}\nact_order = true{more}"), 576).scheme;
        assert!(ordered("").column_groups);
        assert!(!ordered("\nstatic_groups = true").column_groups);
        assert!(!plan("bits = 4\nact_order = true", 576).scheme.column_groups);
        let sequential = |text: &str| plan(&format!("bits = 4\n{text}"), 8).sequential;
        assert_eq!(sequential("true_sequential = true"), Sequential::Layers);
        assert_eq!(sequential("sequential = false"), Sequential::No);
        let both = "bits = 4\nsequential = false\ntrue_sequential = true";
        assert!(
            configure(both)
                .err()
                .unwrap()
                .to_string()
                .contains("`sequential`")
        );
        assert!(configure("bits = 4\ndamping = 2").is_err());
    }

    #[test]
    fn keys_of_the_other_grid_are_errors() {
        let refused = |rule: &str| configure(rule).err().unwrap().to_string();
        let codebook = "bits = 4\ngrid = \"codebook\"\n";
        let found = refused(&format!("{codebook}clip = \"mse\""));
        assert!(
            found.contains("`clip`") && found.contains("no such key beside"),
            "{found}"
        );
        let found = refused("bits = 4\npasses = 3");
        assert!(
            found.contains("`passes`") && found.contains("beside it"),
            "{found}"
        );
        let found = plan(
            &format!("{codebook}weights = \"fisher\"\nsequential = false"),
            576,
        );
        assert_eq!(found.needs, [Stat(&HESSIAN), Stat(&FISHER)]);
        assert_eq!(found.sequential, Sequential::No);
        let found = plan(&format!("{codebook}group_size = 32"), 576);
        assert_eq!(found.needs, [Stat(&HESSIAN)]);
        assert_eq!(found.scheme.granularity, Granularity::Group(32));
    }

    #[test]
    fn a_quantized_layer_says_what_happened() {
        let rule = "bits = 4\ndamping = 0.0";
        let quantizer = configure(rule).unwrap();
        let data = [0.5_f32, -0.25, 0.125, 1.0, 0.75, -0.5];
        let weight = MatrixRef::new(&data, 2, 3).unwrap();
        // Inputs 0 and 1 are always equal, input 2 is never used.
        let hessian = [2.0, 2.0, 0.0, 2.0, 2.0, 0.0, 0.0, 0.0, 0.0];
        let stats = LayerStats::default().with(&HESSIAN, &hessian);
        let plan = plan(rule, 3);
        let found = quantizer.quantize(weight, &plan, &stats).unwrap();
        assert!(found.tensor.matches(&plan.scheme));
        assert_eq!(found.notes.len(), 2, "{:?}", found.notes);
        assert!(found.notes[0].contains("from 0 to 0.01"));
        assert!(found.notes[1].starts_with("1 of 3 inputs"));
        let error = quantizer.quantize(weight, &plan, &LayerStats::default());
        assert_eq!(error.unwrap_err(), QuantizeError::MissingStat("hessian"));
    }
}
