//! Predicted memory and time: from shapes and a stated, rough cost model.

use super::{ModelFacts, PlannedCalibration, PlannedLayer};
use quantizers::Stat;
use quantizers::statistics::FISHER;
use quantizers::tensor::SchemeKind;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What integer programs are calibrated with: ranges and samples of every activation.
pub(super) const ACTIVATIONS: &str = "activations";

/// Predicted memory and time of the whole road.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Estimate {
    /// Largest resident memory, memory-mapped checkpoint pages not counted.
    pub memory_bytes: u64,
    /// One block in f32, with its gradients where they are needed.
    pub block_bytes: u64,
    /// Hidden states of all calibration data.
    pub activation_bytes: u64,
    /// Statistics of one block.
    pub statistics_bytes: u64,
    /// Wall time without evaluation, at `threads`.
    pub seconds: f64,
    /// Threads assumed.
    pub threads: usize,
}

/// The program itself, its tokenizer and its threads.
const BASE_BYTES: u64 = 64 << 20;
/// f32 operations of one thread in matrix products, per second.
const FLOPS_PER_THREAD: f64 = 20e9;
/// Weights one thread puts on a uniform grid, per second.
const UNIFORM_WEIGHTS_PER_SECOND: f64 = 80e6;
/// Weights one thread places by exact k-means, per second.
const CODEBOOK_WEIGHTS_PER_SECOND: f64 = 8e6;
/// Weights written and read back, per second.
const FILE_WEIGHTS_PER_SECOND: f64 = 100e6;

/// Activations kept verbatim at the widest point, about.
const SAMPLE_VALUES: u64 = 1 << 21;
/// Blocks whose activations the compile step has in memory.
const STAGES_TOGETHER: u64 = 3;

/// The cost model in words, for the plan's footer.
pub(super) const ASSUMPTIONS: &str = "time assumes 20 GFLOP/s a thread in matrix products, 80 M weights/s a thread on a grid, 8 M by \
     k-means; a rough guide, evaluation not included";

/// Estimates the road for `layers` of `model`.
pub(super) fn estimate(
    model: &ModelFacts,
    layers: &[PlannedLayer],
    needs: &BTreeSet<Stat>,
    calibration: Option<&PlannedCalibration>,
    threads: usize,
) -> Estimate {
    let largest_block = model
        .stages
        .iter()
        .map(|stage| stage.parameters)
        .max()
        .unwrap_or(0);
    let fisher = needs.contains(&Stat(&FISHER));
    // Weights; for Fisher in the layouts of both directions.
    let block_bytes = 4 * largest_block * if fisher { 2 } else { 1 };
    let hidden = hidden_width(model) as u64;
    let tokens = calibration.map_or(0, |plan| {
        plan.samples as u64 * (plan.sequence_length as u64).max(64)
    });
    // Fisher keeps the input of every stage; forward statistics keep one.
    let kept_stages = if fisher { model.stages.len() as u64 } else { 1 };
    let logits = model.vocabulary.map_or(0, |vocabulary| {
        4 * vocabulary as u64 * calibration.map_or(0, |plan| plan.sequence_length as u64)
    });
    let activation_bytes = 4 * tokens * hidden * kept_stages + logits * threads as u64;
    let mut statistics_bytes = statistics(model, layers, needs);
    if calibration.is_some_and(|plan| plan.statistics.iter().any(|name| name == ACTIVATIONS)) {
        statistics_bytes += samples(model, layers, tokens);
    }
    let seconds = {
        let weights = |kind: SchemeKind| -> f64 {
            let chosen = layers.iter().filter(|layer| layer.plan.scheme.kind == kind);
            chosen.map(|layer| layer.weights() as f64).sum()
        };
        let threads = threads as f64;
        // 2 operations a parameter and token forward; with gradients twice forward and once back.
        let passes = if fisher { 8.0 } else { 2.0 };
        let calibrate =
            passes * tokens as f64 * model.parameters as f64 / FLOPS_PER_THREAD / threads;
        let place = weights(SchemeKind::Uniform) / UNIFORM_WEIGHTS_PER_SECOND
            + weights(SchemeKind::Codebook) / CODEBOOK_WEIGHTS_PER_SECOND;
        let seconds =
            calibrate + place / threads + model.parameters as f64 / FILE_WEIGHTS_PER_SECOND;
        // No finer than the guess is worth.
        (seconds * 10.0).ceil() / 10.0
    };
    Estimate {
        memory_bytes: BASE_BYTES + block_bytes + activation_bytes + statistics_bytes,
        block_bytes,
        activation_bytes,
        statistics_bytes,
        seconds,
        threads,
    }
}

/// Statistics of the stage that has most of them, in bytes.
fn statistics(model: &ModelFacts, layers: &[PlannedLayer], needs: &BTreeSet<Stat>) -> u64 {
    let of_layer = |layer: &PlannedLayer| -> u64 {
        needs
            .iter()
            .map(|stat| {
                let values = stat.0.shape.values(layer.shape[0], layer.shape[1]);
                8 * values.unwrap_or(0) as u64
            })
            .sum()
    };
    (0..model.stages.len())
        .map(|stage| {
            layers
                .iter()
                .filter(|l| l.stage == stage)
                .map(of_layer)
                .sum()
        })
        .max()
        .unwrap_or(0)
}

/// Activations kept verbatim for the compile step: those of the blocks it looks at together.
fn samples(model: &ModelFacts, layers: &[PlannedLayer], tokens: u64) -> u64 {
    let widest = layers.iter().flat_map(|layer| layer.shape).max();
    let rows = (SAMPLE_VALUES / widest.unwrap_or(1).max(1) as u64).min(tokens);
    let of_stage = |stage: usize| -> u64 {
        let inside = layers.iter().filter(|layer| layer.stage == stage);
        inside
            .flat_map(|layer| layer.shape)
            .map(|side| side as u64)
            .sum()
    };
    let most = (0..model.stages.len()).map(of_stage).max();
    4 * rows * most.unwrap_or(0) * STAGES_TOGETHER
}

/// Width of the hidden states: the narrowest input of a block's layers.
fn hidden_width(model: &ModelFacts) -> usize {
    model
        .layers
        .iter()
        .filter(|layer| layer.in_block)
        .map(|layer| layer.cols)
        .min()
        .unwrap_or(0)
}
