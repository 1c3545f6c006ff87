//! What the layers of experts are calibrated on: the tokens their router sends them, or all of them.

use serde::{Deserialize, Serialize};

/// What the layers of experts are calibrated on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpertCalibration {
    /// Statistics of fewer tokens than this are not believed.
    pub min_tokens: usize,
    /// Which tokens are shown to observers.
    pub tokens: ExpertTokens,
    /// Bytes of statistics of the experts of one block that are held at a time; what is more waits for another run of
    /// the block.
    pub memory_bytes: u64,
}

/// Which tokens observers see at the points of an expert. What the block returns is the routed output all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExpertTokens {
    /// Those its router sends it.
    Routed,
    /// The same, but all tokens where those are fewer than [`ExpertCalibration::min_tokens`].
    AllWhereFew,
    /// All.
    All,
}

impl Default for ExpertCalibration {
    /// 128 tokens: the mean magnitude of a channel is then known to about a tenth (one over the square root of it).
    fn default() -> Self {
        Self {
            min_tokens: 128,
            tokens: ExpertTokens::Routed,
            memory_bytes: 4 << 30,
        }
    }
}

impl ExpertCalibration {
    /// Whether `tokens` are too few.
    pub fn is_few(&self, tokens: usize) -> bool {
        tokens < self.min_tokens
    }
}
