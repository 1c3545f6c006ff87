//! Predicted memory of what a run does beside its layers: tensors that a transform rewrites, a cache that is fitted.

use super::{Phase, Subject};
use crate::plan::FITTED_TOKENS;

impl Subject<'_> {
    /// Writing tensors that a transform of the whole checkpoint rewrites and no method quantizes, one at a time: its
    /// values, and their bytes.
    pub(super) fn rewriting(&self) -> Option<Phase> {
        let rewrite = self.facts.rewrite.as_ref()?;
        let tensor = 8 * rewrite.largest_kept;
        let parts = [("program", self.program()), ("tensor", tensor)];
        Some(Phase::new("write", &parts))
    }

    /// Fitting a cache: a block, what it makes of the sequences, and their keys and values as rows and as they are
    /// sorted; with gradients, the way to the loss and back besides.
    pub(super) fn caching(&self) -> Vec<Phase> {
        let (Some(cache), Some(calibration)) = (self.cache, self.calibration) else {
            return Vec::new();
        };
        if !cache.needs_samples {
            return Vec::new();
        }
        let rows = 4 * self.fitted_tokens() * cache.values_per_token as u64;
        let states = self.fitted_states();
        if !cache.needs_gradients {
            let parts = [
                ("program", self.program()),
                ("stage", self.largest_stage(false)),
                ("hidden states", states),
                ("activations", self.in_flight()),
                ("keys and values", 3 * rows),
            ];
            return vec![Phase::new("cache", &parts)];
        }
        let inputs = states * self.facts.stages.len() as u64;
        let common = [
            ("program", self.program()),
            ("block inputs", inputs.min(calibration.kept_input_bytes)),
            // What comes out of a block, and its gradient.
            ("hidden states", 2 * states),
        ];
        let with = |name, parts: &[(&str, u64)]| Phase::new(name, &[&common, parts].concat());
        // In both directions, and once more as it is run to be looked at.
        let block = 3 * self.largest_stage(true) + self.in_flight();
        vec![
            with(
                "cache: loss and its gradient",
                &[("head and logits", self.loss())],
            ),
            with(
                "cache",
                &[("block", block), ("keys, values and gradients", 5 * rows)],
            ),
        ]
    }

    /// Tokens a cache is fitted to.
    fn fitted_tokens(&self) -> u64 {
        self.tokens().min(FITTED_TOKENS as u64)
    }

    /// Bytes of their hidden states.
    pub(super) fn fitted_states(&self) -> u64 {
        4 * self.fitted_tokens() * self.facts.width() as u64
    }
}
