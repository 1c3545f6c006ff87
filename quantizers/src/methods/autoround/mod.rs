//! `AutoRound`: whether a weight goes up or down is learned from what the block makes of it.
//!
//! Each weight has an offset `v` in -1/2..1/2 and each group two factors in 0..1 on the ends of its range:
//! `w' = s (clamp(round(w / s + v) + z) - z)`, `s` and `z` from `beta * min w` and `alpha * max w`. All layers of a block
//! are tuned together: the mean squared difference between the output of the original block and that of the quantized
//! one, behind the quantized blocks before, is sent back through the block, rounding having the derivative 1, and every
//! parameter moves by the sign of its derivative alone. The rate falls to 0 in equal steps, and the best state is kept.
//!
//! Cheng et al. 2023, arXiv 2309.05516. Ranges end at the largest weight of the grid of [`crate::grid`], so that the
//! result is stored as any other uniform grid.

mod rounding;

use super::grid_parameters::{GRID_PARAMETERS, GridParameters, beside_grid};
use super::parameters::Parameters;
use super::{
    LayerPlan, Method, ParamError, QuantizeError, Quantized, Quantizer, Sequential, TunedLayer,
    Tuning, range, require_finite,
};
use crate::statistics::LayerStats;
use crate::{FloatType, Granularity, MatrixRef};
use rounding::{Rounding, Schedule};

/// Weights one thread moves in a second.
const STEPS_PER_SECOND: f64 = 150e6;
/// Steps from which few bits move twice as fast, as in the paper's code.
const MANY_STEPS: usize = 1000;

/// The registry entry.
pub(super) struct AutoRound;

static PARAMETERS: [(&str, &str); GRID_PARAMETERS.len() + 4] = beside_grid(&[
    (
        "steps",
        "steps against the gradient, 1 to 100000; 200 unless given",
    ),
    (
        "batch_size",
        "calibration sequences that each step sees, 1 to 4096; 8 unless given",
    ),
    (
        "learning_rate",
        "largest move of an offset in the first step, above 0, at most 1; absent: 1 / steps, twice that for 1000 steps or more at 2 and 3 bits",
    ),
    (
        "tune_ranges",
        "`true` (default): the ends of the range of each group are learned too; `false`: they stay at the largest weights",
    ),
]);

impl Method for AutoRound {
    fn name(&self) -> &'static str {
        "autoround"
    }

    fn summary(&self) -> &'static str {
        "uniform grid; roundings and ranges are learned from the error of the block (signed gradients)"
    }

    fn parameters(&self) -> &'static [(&'static str, &'static str)] {
        &PARAMETERS
    }

    fn configure(&self, table: &toml::Table) -> Result<Box<dyn Quantizer>, ParamError> {
        let parameters = Parameters::new(self.name(), self.parameters(), table)?;
        let count = |key: &'static str, most: usize, default: usize| {
            let found = parameters.integer(key, 1..=i64::try_from(most).unwrap_or(i64::MAX))?;
            let found = found.and_then(|found| usize::try_from(found).ok());
            Ok(found.unwrap_or(default))
        };
        let grid = GridParameters::read(&parameters)?;
        if grid.granularity == Granularity::Tensor {
            return Err(parameters.refuse("granularity", "`channel` or a `group_size`"));
        }
        let tuning = Tuning {
            steps: count("steps", 100_000, 200)?,
            batch: count("batch_size", 4096, 8)?,
        };
        let rate = parameters.number("learning_rate", 0.0..=1.0)?;
        if rate == Some(0.0) {
            return Err(parameters.refuse("learning_rate", "a number above 0, at most 1"));
        }
        let quick = tuning.steps >= MANY_STEPS && grid.bits <= 3;
        let usual = if quick { 2.0 } else { 1.0 } / tuning.steps as f64;
        Ok(Box::new(AutoRoundQuantizer {
            grid,
            tuning,
            rate: rate.unwrap_or(usual),
            tunes_ranges: parameters.boolean("tune_ranges")?.unwrap_or(true),
        }))
    }
}

#[derive(Debug)]
struct AutoRoundQuantizer {
    grid: GridParameters,
    tuning: Tuning,
    rate: f64,
    tunes_ranges: bool,
}

impl Quantizer for AutoRoundQuantizer {
    fn plan(
        &self,
        rows: usize,
        cols: usize,
        stored: FloatType,
    ) -> Result<LayerPlan, QuantizeError> {
        let speed = STEPS_PER_SECOND / self.tuning.steps as f64;
        let plan = self
            .grid
            .plan(AutoRound.name(), (rows, cols), stored, speed)?;
        Ok(LayerPlan {
            sequential: Sequential::Blocks,
            tuning: Some(self.tuning),
            ..plan
        })
    }

    /// Nearest rounding on the same grid: what tuning starts from.
    fn quantize(
        &self,
        weight: MatrixRef<'_>,
        plan: &LayerPlan,
        _stats: &LayerStats<'_>,
    ) -> Result<Quantized, QuantizeError> {
        require_finite(weight)?;
        let grid = self.grid.grid(plan.weight_type);
        range::require_weights(weight, grid)?;
        let uniform = grid.quantize(weight, plan.scheme.granularity);
        Ok(range::stored(weight, uniform)?.into())
    }

    fn tune<'w>(
        &self,
        weight: MatrixRef<'w>,
        plan: &LayerPlan,
    ) -> Result<Option<Box<dyn TunedLayer + 'w>>, QuantizeError> {
        require_finite(weight)?;
        let grid = self.grid.grid(plan.weight_type);
        range::require_weights(weight, grid)?;
        let schedule = Schedule {
            steps: self.tuning.steps,
            rate: self.rate,
            tunes_ranges: self.tunes_ranges,
        };
        let rounding = Rounding::new(grid, plan.scheme.granularity, weight, schedule);
        Ok(Some(Box::new(rounding)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configure(text: &str) -> Result<Box<dyn Quantizer>, ParamError> {
        AutoRound.configure(&text.parse().unwrap())
    }

    #[test]
    fn a_rule_becomes_a_plan() {
        let plan = |text: &str| {
            let quantizer = configure(text).unwrap();
            quantizer.plan(8, 64, FloatType::F16).unwrap()
        };
        let found = plan("bits = 3\ngroup_size = 32");
        assert_eq!(
            found.tuning,
            Some(Tuning {
                steps: 200,
                batch: 8
            })
        );
        assert_eq!(found.sequential, Sequential::Blocks);
        assert!(found.needs.is_empty());
        let found = plan("bits = 3\nsteps = 20\nbatch_size = 2");
        assert_eq!(
            found.tuning,
            Some(Tuning {
                steps: 20,
                batch: 2
            })
        );
    }

    #[test]
    fn wrong_rules_are_refused() {
        let refused = |text: &str| configure(text).err().unwrap().to_string();
        assert!(refused("bits = 4\nsteps = 0").contains("`steps`"));
        assert!(refused("bits = 4\nlearning_rate = 0").contains("above 0"));
        let found = refused("bits = 4\ngranularity = \"tensor\"");
        assert!(found.contains("a `group_size`"), "{found}");
    }
}
