//! One stage with calibration data in front of it, as block transforms see it.

use super::expert_calibration::{ExpertCalibration, ExpertTokens};
use super::measured::StageStatistics;
use super::overlay::Overlay;
use crate::hidden::values;
use crate::{Hidden, Model, StageError, Tap, WeightSource};
use burn::tensor::{Device, Tensor};
use quantizers::transforms::{BlockEdit, BlockRunner, EditedTensor, TransformError};
use quantizers::{FloatType, Granularity, LayerPlan, LayerStats, MatrixRef, Quantizer, Statistic};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::error::Error;

/// How the search rounds a layer: the planned quantizer, or round-to-nearest on the planned scheme where
/// that one compensates errors.
pub struct SearchGrid<'a> {
    /// Quantizes without statistics.
    pub quantizer: &'a dyn Quantizer,
    /// What it will do.
    pub plan: LayerPlan,
}

/// A [`BlockRunner`] over one stage of a model; builds the stage anew from each edit.
pub struct StageRunner<'a> {
    /// The model.
    pub model: &'a dyn Model,
    /// Which of its stages.
    pub stage: usize,
    /// Weights before any edit.
    pub source: &'a dyn WeightSource,
    /// Where the stage runs.
    pub device: &'a Device,
    /// What enters the stage, in batches of sequences of equal length.
    pub batches: &'a [Hidden],
    /// Statistics of inputs by point.
    pub statistics: &'a StageStatistics,
    /// What is believed of experts, whose tokens `statistics` count.
    pub experts: ExpertCalibration,
    /// Layers that will be quantized, by name.
    pub grids: &'a BTreeMap<String, SearchGrid<'a>>,
    /// The type each tensor is stored in.
    pub float_type: &'a (dyn Fn(&str) -> FloatType + Sync),
}

impl StageRunner<'_> {
    /// Whether an expert saw too few tokens at `point`.
    fn saw_few(&self, point: &str) -> bool {
        let tokens = self.statistics.tokens(point);
        tokens.is_some_and(|tokens| self.experts.is_few(tokens))
    }

    /// Whether an expert is shown every token at `point`.
    fn sees_all(&self, point: &str) -> bool {
        match self.experts.tokens {
            ExpertTokens::Routed => false,
            ExpertTokens::AllWhereFew => self.saw_few(point),
            ExpertTokens::All => self.statistics.tokens(point).is_some(),
        }
    }

    /// The first sequences, `max_tokens` tokens of them at most and one sequence at least.
    fn first(&self, max_tokens: usize) -> Vec<Hidden> {
        let mut left = max_tokens;
        let mut taken = Vec::new();
        for batch in self.batches {
            let [sequences, tokens] = match batch {
                Hidden::Tokens(ids) => ids.dims(),
                Hidden::States(states) | Hidden::Embedding(states) => {
                    [states.dims()[0], states.dims()[1]]
                }
                Hidden::Pixels(pixels) => [pixels.dims()[0], 1],
            };
            let least = usize::from(taken.is_empty());
            let count = (left / tokens.max(1)).max(least).min(sequences);
            if count == 0 {
                break;
            }
            taken.push(match batch.clone() {
                Hidden::Tokens(ids) => Hidden::Tokens(ids.narrow(0, 0, count)),
                Hidden::States(states) => Hidden::States(states.narrow(0, 0, count)),
                Hidden::Pixels(pixels) => Hidden::Pixels(pixels.narrow(0, 0, count)),
                Hidden::Embedding(states) => Hidden::Embedding(states.narrow(0, 0, count)),
            });
            left = left.saturating_sub(count * tokens);
        }
        taken
    }
}

impl BlockRunner for StageRunner<'_> {
    fn tensor(&self, name: &str) -> Result<EditedTensor, TransformError> {
        let tensor = self.source.tensor(name);
        let tensor = tensor.map_err(|error| failed(name, error))?;
        Ok(EditedTensor {
            shape: tensor.shape,
            values: tensor.data.into_owned(),
        })
    }

    fn float_type(&self, name: &str) -> FloatType {
        (self.float_type)(name)
    }

    fn statistic(&self, point: &str, stat: &'static Statistic) -> Option<&[f32]> {
        let known = self.statistics.get(stat, point);
        known.map(|entry| entry.values.as_slice())
    }

    fn is_calibrated(&self, point: &str) -> bool {
        !self.saw_few(point) || self.sees_all(point)
    }

    fn run(
        &self,
        edit: &BlockEdit,
        points: &[&str],
        max_tokens: usize,
    ) -> Result<Vec<Vec<f32>>, TransformError> {
        let name = self.model.stage_name(self.stage);
        let mut source = Overlay::new(self.source);
        for tensor in self.model.tensors(self.stage) {
            if let Some(changed) = edit.tensor(&tensor.name) {
                source.set(&tensor.name, changed.shape.clone(), changed.values.clone());
            }
        }
        let stage = self.model.build(self.stage, &source, self.device);
        let stage = stage.map_err(|error| failed(&name, error))?;
        let whole = points
            .iter()
            .map(|point| self.sees_all(point))
            .collect::<Vec<bool>>();
        let batches: Vec<Vec<Vec<f32>>> = self
            .first(max_tokens)
            .into_par_iter()
            .map(|hidden| {
                let mut wanted = Wanted {
                    points,
                    whole: &whole,
                    seen: vec![None; points.len()],
                };
                stage.forward(hidden, &mut wanted)?;
                let seen = wanted.seen.into_iter();
                Ok(seen
                    .map(|tensor| tensor.map_or_else(Vec::new, values))
                    .collect())
            })
            .collect::<Result<_, StageError>>()
            .map_err(|error| failed(&name, error))?;
        let mut all = vec![Vec::new(); points.len()];
        for batch in batches {
            for (all, seen) in all.iter_mut().zip(batch) {
                all.extend(seen);
            }
        }
        Ok(all)
    }

    fn granularity(&self, layer: &str) -> Option<Granularity> {
        self.grids
            .get(layer)
            .map(|grid| grid.plan.scheme.granularity)
    }

    fn quantize(&self, layer: &str, weight: MatrixRef<'_>) -> Result<Vec<f32>, TransformError> {
        let Some(grid) = self.grids.get(layer) else {
            return Ok(weight.data().to_vec());
        };
        let stats = LayerStats::new(layer, 0);
        let quantized = grid.quantizer.quantize(weight, &grid.plan, &stats);
        let quantized = quantized.map_err(|error| failed(layer, error))?;
        Ok(quantized.tensor.dequantize())
    }
}

fn failed(name: &str, error: impl Error + Send + Sync + 'static) -> TransformError {
    TransformError::Runner {
        name: name.to_owned(),
        source: Box::new(error),
    }
}

/// Keeps what is seen at the wanted points; the stage may end after the last.
struct Wanted<'a> {
    points: &'a [&'a str],
    /// Whether every token is wanted at each of them.
    whole: &'a [bool],
    seen: Vec<Option<Tensor<3>>>,
}

impl Tap for Wanted<'_> {
    fn observe(&mut self, point: &str, values: &Tensor<3>) {
        if let Some(at) = self.points.iter().position(|wanted| *wanted == point) {
            self.seen[at] = Some(values.clone());
        }
    }

    fn wants_every_token(&self, point: &str) -> bool {
        let mut wanted = self.points.iter().zip(self.whole);
        wanted.any(|(wanted, whole)| *whole && *wanted == point)
    }

    fn done(&self) -> bool {
        self.seen.iter().all(Option::is_some)
    }
}
