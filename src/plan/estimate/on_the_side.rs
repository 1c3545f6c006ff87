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
    /// sorted.
    pub(super) fn caching(&self) -> Option<Phase> {
        let cache = self.cache.filter(|cache| cache.needs_samples)?;
        let tokens = self.tokens().min(FITTED_TOKENS as u64);
        let parts = [
            ("program", self.program()),
            ("stage", self.largest_stage(false)),
            ("hidden states", self.hidden()),
            ("activations", self.in_flight()),
            (
                "keys and values",
                3 * 4 * tokens * cache.values_per_token as u64,
            ),
        ];
        Some(Phase::new("cache", &parts))
    }
}
