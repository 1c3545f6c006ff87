//! Memory and time of tuning the layers of a block together.

use super::{Phase, Subject};
use std::collections::BTreeMap;

/// Bytes a tuned weight takes in its layer: its value, offset, what it decodes to, its code and the one that is kept.
const LAYER_BYTES: u64 = 14;
/// Bytes of its derivative: the sum over sequences, and each thread's own while it is made.
const GRADIENT_BYTES: u64 = 4;
/// Bytes of the weight in the block that is built anew for each step: as it is handed over, and in the layouts of both
/// directions.
const BUILT_BYTES: u64 = 12;
/// f32 operations for each token and weight: forward, back to the input, back to the weight.
const OPERATIONS: f64 = 6.0;

impl Subject<'_> {
    /// Tuned weights, by stage, and tokens that all steps of the stage see.
    fn tuned(&self) -> BTreeMap<usize, (u64, f64)> {
        let mut stages = BTreeMap::new();
        for layer in self.layers {
            let Some(tuning) = layer.plan.tuning else {
                continue;
            };
            let batch = (tuning.batch as u64).min(self.samples());
            let tokens = tuning.steps as f64 * (batch * self.sequence()) as f64;
            let (weights, most): &mut (u64, f64) = stages.entry(layer.stage).or_default();
            *weights += layer.weights();
            *most = most.max(tokens);
        }
        stages
    }

    /// Paths of the data through the model: beside that of the quantized blocks, that of the original ones where layers are
    /// tuned by it.
    pub(super) fn paths(&self) -> u64 {
        1 + u64::from(self.layers.iter().any(|layer| layer.plan.tuning.is_some()))
    }

    /// The block that has most to tune.
    pub(super) fn tuning(&self) -> Option<Phase> {
        let tuned = self.tuned().into_values();
        let weights = tuned.map(|(weights, _)| weights).max()?;
        let threads = self.threads as u64;
        let own = LAYER_BYTES + GRADIENT_BYTES * (1 + 2 * threads);
        Some(Phase::new(
            "tune a block",
            &[
                ("program", self.program()),
                // What enters the quantized block, what the original one is given and returns.
                ("hidden states", 3 * self.hidden()),
                ("activations", 2 * self.in_flight()),
                ("weights, roundings and gradients", own * weights),
                ("block", BUILT_BYTES / 4 * self.largest_stage(true)),
            ],
        ))
    }

    /// f32 operations of all steps, besides those of the layers themselves.
    pub(super) fn tuning_operations(&self) -> f64 {
        let stages = self.tuned().into_iter();
        let each = stages.map(|(stage, (_, tokens))| {
            let parameters = self
                .facts
                .stages
                .get(stage)
                .map_or(0, |stage| stage.parameters);
            OPERATIONS * parameters as f64 * tokens
        });
        each.sum()
    }
}
