//! SmoothQuant (Xiao et al. 2023): what is hard to quantize in the activations moves into the weights.
//!
//! In front of each set of layers channel `c` gets the factor `s_c = max|x_c|^alpha / max|W_c|^(1 - alpha)`
//! over all consumers, at least 1e-5; a channel that calibration never saw active keeps 1. Published for
//! what stands behind a normalisation; here also for what stands behind a linear layer that can take
//! the factors (values in front of the output layer, up in front of down).

use super::edit::BlockEdit;
use super::equalize;
use super::error::TransformError;
use super::runner::BlockRunner;
use super::scaling::{calibrated, column_maxima, fold, shared_maxima, statistic};
use super::transform::{ConfiguredTransform, Transform};
use crate::ParamError;
use crate::graph::{Graph, Scaling};
use crate::methods::parameters::Parameters;
use crate::statistics::{INPUT_ABS_MAX, Statistic};

/// The registry entry.
pub(super) struct SmoothQuant;

/// Smallest column maximum and smallest factor that are believed.
const FLOOR: f32 = 1e-5;

const NEEDS: &[&Statistic] = &[&INPUT_ABS_MAX];

const PARAMETERS: &[(&str, &str)] = &[(
    "alpha",
    "how much of the range of the activations moves into the weights, 0 to 1 (default 0.5; 0.8 to 0.9 is usual for Llama and Mistral)",
)];

impl Transform for SmoothQuant {
    fn name(&self) -> &'static str {
        "smoothquant"
    }

    fn summary(&self) -> &'static str {
        "activation outliers moved into the weights that read them, by channel maxima"
    }

    fn parameters(&self) -> &'static [(&'static str, &'static str)] {
        PARAMETERS
    }

    fn configure(&self, table: &toml::Table) -> Result<Box<dyn ConfiguredTransform>, ParamError> {
        let parameters = Parameters::new(self.name(), PARAMETERS, table)?;
        let alpha = parameters.number("alpha", 0.0..=1.0)?.unwrap_or(0.5);
        Ok(Box::new(Smoothing { alpha }))
    }
}

struct Smoothing {
    alpha: f64,
}

impl ConfiguredTransform for Smoothing {
    fn needs(&self) -> &'static [&'static Statistic] {
        NEEDS
    }

    fn apply(
        &self,
        graph: &Graph,
        stage: usize,
        edit: &mut BlockEdit,
        runner: &dyn BlockRunner,
    ) -> Result<Vec<String>, TransformError> {
        for scaling in calibrated(graph, stage, runner) {
            let factors = self.factors(&scaling, edit, runner)?;
            fold(&scaling, &factors, edit, runner)?;
        }
        Ok(Vec::new())
    }
}

impl Smoothing {
    #[expect(clippy::cast_possible_truncation, reason = "a factor of f32 weights")]
    fn factors(
        &self,
        scaling: &Scaling<'_>,
        edit: &BlockEdit,
        runner: &dyn BlockRunner,
    ) -> Result<Vec<f32>, TransformError> {
        let reach = statistic(scaling, &INPUT_ABS_MAX, runner)?;
        let reach = shared_maxima(scaling, reach);
        let largest = column_maxima(scaling, edit, runner)?;
        Ok(reach
            .iter()
            .zip(&largest)
            .map(|(&reach, &largest)| {
                let largest = f64::from(largest.max(FLOOR));
                let factor = equalize::factor(f64::from(reach), largest, self.alpha) as f32;
                if reach > 0.0 { factor.max(FLOOR) } else { 1.0 }
            })
            .collect())
    }
}
