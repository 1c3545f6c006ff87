//! Whose tapes are kept from the way forward, so that their blocks are not run twice.

use crate::Model;

/// Tapes kept at once. After each backward pass burn looks at every node of every tape there is, which
/// costs more than it saves for many short sequences through a small model.
const MAX_TAPES: usize = 96;

/// What decides how large the tapes of a stage are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StageSize {
    /// Values a tap sees for one token.
    pub activations: usize,
    /// Weights of linear layers.
    pub weights: usize,
}

/// The sizes of all stages of `model`.
pub fn stage_sizes(model: &dyn Model) -> Vec<StageSize> {
    (0..model.stages())
        .map(|stage| {
            let in_stage = model.layers().iter().filter(|layer| layer.stage == stage);
            StageSize {
                activations: model.points(stage).iter().map(|point| point.width).sum(),
                weights: in_stage.map(|layer| layer.rows * layer.cols).sum(),
            }
        })
        .collect()
}

/// The last stages before the head, as far as their tapes fit: they are the first to be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TapedStages {
    /// The first stage whose tapes are kept; the last stage of the model never is among them.
    pub from: usize,
    /// Bytes of all tapes kept, no less than what they hold.
    pub bytes: u64,
}

impl TapedStages {
    /// Decides for `sequences` sequences of `tokens` tokens in all, from stage `first` on, in `budget` bytes.
    pub fn within(
        stages: &[StageSize],
        first: usize,
        sequences: usize,
        tokens: usize,
        budget: u64,
    ) -> Self {
        let last = stages.len().saturating_sub(1);
        let mut taped = Self {
            from: last,
            bytes: 0,
        };
        for stage in (first..last).rev() {
            let bytes = taped.bytes + stages[stage].tape_bytes(tokens);
            if bytes > budget || (last - stage).saturating_mul(sequences) > MAX_TAPES {
                break;
            }
            taped = Self { from: stage, bytes };
        }
        taped
    }
}

impl StageSize {
    /// No less than what the tapes over `tokens` tokens hold: everything a tap could see, and the weights.
    fn tape_bytes(self, tokens: usize) -> u64 {
        4 * (tokens * self.activations + self.weights) as u64
    }
}
