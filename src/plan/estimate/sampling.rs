//! Predicted memory and time of text that the model samples for itself.

use super::{FLOPS_PER_THREAD, Phase, SYNTHETIC, Subject};
use crate::plan::ModelKind;

/// What a token takes besides its matrix products, in seconds.
const TOKEN_SECONDS: f64 = 80e-6;
/// Sequences sampled side by side on a thread.
const BATCH: u64 = 16;
/// The keys and values of a block are copied for every token: the old ones, and the new ones.
const COPIES: u64 = 2;

impl Subject<'_> {
    /// Sampling the calibration data; nothing where they come from elsewhere.
    pub(super) fn sampling(&self) -> Option<Phase> {
        let planned = self.calibration?;
        if planned.data != SYNTHETIC || self.facts.kind != ModelKind::Decoder {
            return None;
        }
        let blocks = self.facts.graph.blocks();
        // A key and a value of each head, as f32.
        let widths = blocks.map(|block| 2 * block.attention.kv_heads * block.attention.head_dim);
        let token = 4 * widths.sum::<usize>() as u64;
        let sequences = self.samples().min(BATCH * self.threads as u64);
        let stages = self.facts.stages.iter();
        let weights: u64 = stages.map(|stage| 4 * stage.parameters).sum();
        Some(Phase::new(
            "sample text",
            &[
                ("program", self.program()),
                ("weights", weights),
                (
                    "keys and values",
                    COPIES * sequences * self.sequence() * token,
                ),
            ],
        ))
    }

    /// Seconds in which the model writes `tokens` tokens; what encoders are calibrated on is only drawn.
    pub(super) fn sampling_seconds(&self, tokens: u64) -> f64 {
        if self.facts.kind != ModelKind::Decoder {
            return 0.0;
        }
        let products = 2.0 * self.computing() / FLOPS_PER_THREAD / self.threads as f64;
        tokens as f64 * (products + TOKEN_SECONDS)
    }
}
