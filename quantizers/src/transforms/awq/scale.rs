//! The scale search: which power of the mean activation the columns are multiplied with.

use super::product::squared_error;
use crate::graph::Scaling;
use crate::statistics::INPUT_ABS_MEAN;
use crate::transforms::edit::BlockEdit;
use crate::transforms::error::TransformError;
use crate::transforms::layer_weight::LayerWeight;
use crate::transforms::runner::BlockRunner;
use crate::transforms::scaling::{fold, shared_means, spread, statistic};

/// Smallest factor before factors are centred.
const FLOOR: f32 = 1e-4;

/// Folds the factors of least output error into `edit`; returns their ratio, or nothing where the plan
/// quantizes none of the layers.
pub(super) fn search(
    scaling: &Scaling<'_>,
    ratios: usize,
    tokens: usize,
    edit: &mut BlockEdit,
    runner: &dyn BlockRunner,
) -> Result<Option<f64>, TransformError> {
    let quantized = |name: &str| runner.granularity(name).is_some();
    if !scaling.consumers.iter().any(|layer| quantized(&layer.name)) {
        return Ok(None);
    }
    let means = statistic(scaling, &INPUT_ABS_MEAN, runner)?;
    let means = shared_means(scaling, means);
    let outcome = Outcome::of(scaling, tokens, edit, runner)?;
    let mut best: Option<(f64, usize, Vec<f32>)> = None;
    for at in 0..ratios {
        let factors = factors(&means, at as f64 / ratios as f64);
        let columns = spread(scaling, &factors);
        let error = outcome.error(scaling, &columns, tokens, edit, runner)?;
        if best.as_ref().is_none_or(|(least, ..)| error < *least) {
            best = Some((error, at, factors));
        }
    }
    let Some((_, at, factors)) = best else {
        return Ok(None);
    };
    // Ratio 0 is factors of one: weights and files stay as they are.
    if at > 0 {
        fold(scaling, &factors, edit, runner)?;
    }
    Ok(Some(at as f64 / ratios as f64))
}

/// `means^ratio`, centred so that the largest and the smallest are each other's inverse.
#[expect(clippy::cast_possible_truncation, reason = "factors of f32 weights")]
fn factors(means: &[f32], ratio: f64) -> Vec<f32> {
    let powers: Vec<f32> = means
        .iter()
        .map(|&mean| (f64::from(mean).powf(ratio) as f32).max(FLOOR))
        .collect();
    let most = powers.iter().copied().fold(0.0, f32::max);
    let least = powers.iter().copied().fold(f32::INFINITY, f32::min);
    let centre = (most * least).sqrt();
    powers.iter().map(|power| power / centre).collect()
}

/// What the outputs are without quantization.
enum Outcome {
    /// The consumer is a single layer and its own output is looked at: its inputs do.
    Layer { inputs: Vec<f32> },
    /// Output of the half, `[tokens, width]`: the block is run.
    Half { outputs: Vec<f32> },
}

impl Outcome {
    fn of(
        scaling: &Scaling<'_>,
        tokens: usize,
        edit: &BlockEdit,
        runner: &dyn BlockRunner,
    ) -> Result<Self, TransformError> {
        let own = match scaling.consumers.as_slice() {
            [layer] => layer.output_point() == scaling.outcome,
            _ => false,
        };
        let point = if own {
            scaling.point()
        } else {
            &scaling.outcome
        };
        let seen = runner.run(edit, &[point], tokens)?;
        let seen = seen.into_iter().next().unwrap_or_default();
        Ok(if own {
            Self::Layer { inputs: seen }
        } else {
            Self::Half { outputs: seen }
        })
    }

    /// Mean squared difference of the outputs with the consumers' columns times `columns`, rounded, and
    /// divided again.
    fn error(
        &self,
        scaling: &Scaling<'_>,
        columns: &[f32],
        tokens: usize,
        edit: &BlockEdit,
        runner: &dyn BlockRunner,
    ) -> Result<f64, TransformError> {
        let mut tried = edit.clone();
        for layer in &scaling.consumers {
            let mut weight = LayerWeight::read(layer, edit, runner)?;
            let original = weight.values.clone();
            weight.scale_columns(columns);
            weight.values = runner.quantize(&layer.name, weight.matrix(layer)?)?;
            weight.unscale_columns(columns);
            if let Self::Layer { inputs } = self {
                let difference: Vec<f32> = weight
                    .values
                    .iter()
                    .zip(&original)
                    .map(|(rounded, exact)| rounded - exact)
                    .collect();
                return Ok(squared_error(inputs, &difference, weight.cols));
            }
            weight.write(layer, &mut tried);
        }
        match self {
            Self::Layer { .. } => Ok(0.0),
            Self::Half { outputs } => {
                let seen = runner.run(&tried, &[&scaling.outcome], tokens)?;
                let seen = seen.into_iter().next().unwrap_or_default();
                if seen.len() != outputs.len() {
                    return Err(TransformError::Size {
                        name: scaling.outcome.clone(),
                        expected: outputs.len(),
                        found: seen.len(),
                    });
                }
                let squares = seen.iter().zip(outputs);
                let sum: f64 = squares.map(|(a, b)| f64::from(a - b).powi(2)).sum();
                Ok(sum / outputs.len().max(1) as f64)
            }
        }
    }
}
