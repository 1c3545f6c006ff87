//! Whose tapes are kept from the way forward, so that their blocks are not run twice.

use crate::Model;

/// Tapes kept at once. After each backward pass burn looks at every node of every tape there is, which
/// costs more than it saves for many short sequences through a small model.
const MAX_TAPES: usize = 96;

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
        model: &dyn Model,
        first: usize,
        sequences: usize,
        tokens: usize,
        budget: u64,
    ) -> Self {
        let last = model.stages() - 1;
        let mut taped = Self {
            from: last,
            bytes: 0,
        };
        for stage in (first..last).rev() {
            let bytes = taped.bytes + tape_bytes(model, stage, tokens);
            if bytes > budget || (last - stage) * sequences > MAX_TAPES {
                break;
            }
            taped = Self { from: stage, bytes };
        }
        taped
    }
}

/// No less than what the tapes of a stage over `tokens` tokens hold: everything a tap could see, and the
/// weights.
fn tape_bytes(model: &dyn Model, stage: usize, tokens: usize) -> u64 {
    let activations: usize = model.points(stage).iter().map(|point| point.width).sum();
    let in_stage = model.layers().iter().filter(|layer| layer.stage == stage);
    let weights: usize = in_stage.map(|layer| layer.rows * layer.cols).sum();
    4 * (tokens * activations + weights) as u64
}
