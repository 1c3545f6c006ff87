//! Predicted memory and time of the evaluations.

use super::{FLOPS_PER_THREAD, Phase, RESIDENT_BYTES, SYNTHETIC, Subject};
use crate::plan::{ModelKind, PlannedEvaluation, data};
use eval::tasks::{BYTES_PER_TOKEN, HIDDEN_BYTES, LENGTH, LOGIT_BYTES, TASKS};

/// What the tokenizer holds for a token of a text while it is cut.
const ENCODING_BYTES: u64 = 420;
/// Tokens of data whose size is not known: files on the Hub.
const UNKNOWN_TOKENS: u64 = 300_000;
/// Both models are there.
const MODELS: u64 = 2;

/// What one evaluation runs over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    /// Run through each model.
    tokens: u64,
    /// Of one sequence.
    length: u64,
    /// Encoded in one piece.
    encoded: u64,
    /// Sampled from the original.
    sampled: u64,
}

impl Subject<'_> {
    /// What each evaluation runs over.
    pub(super) fn loads(&self) -> Vec<Load> {
        let evaluations = self.evaluations.iter();
        evaluations.map(|planned| self.load(planned)).collect()
    }

    /// The evaluation that holds most; nothing without one.
    pub(super) fn evaluating(&self, loads: &[Load]) -> Option<Phase> {
        let phases = loads.iter().map(|load| self.phase(*load));
        phases.max_by_key(Phase::bytes)
    }

    fn phase(&self, load: Load) -> Phase {
        let hidden = (HIDDEN_BYTES as u64).min(4 * load.tokens * self.facts.width() as u64);
        let decoder = matches!(self.facts.kind, ModelKind::Decoder | ModelKind::MaskedModel);
        // Next-token losses hold the states of both models before the heads; elsewhere one runs after the other, and
        // a stage has its inputs and its outputs.
        let vocabulary = self.facts.vocabulary.filter(|_| decoder).unwrap_or(0) as u64;
        let logits = (LOGIT_BYTES as u64).min(4 * vocabulary * load.length * MODELS);
        let logits = logits * self.threads as u64;
        let weights = self.weights();
        let widths = self.facts.stages.iter().map(|stage| stage.size.activations);
        let widest = widths.max().unwrap_or(0) as u64;
        let activations = 4 * load.length * widest * self.threads as u64;
        // Nothing runs while a stage is built.
        let building = self.building();
        let (activations, logits, building) = if building > activations + logits {
            (0, 0, building)
        } else {
            (activations, logits, 0)
        };
        Phase::new(
            "evaluate",
            &[
                ("program", self.program()),
                ("weights of both models", weights),
                ("hidden states", MODELS * hidden),
                ("activations", activations),
                ("logits", logits),
                ("head while it is built", building),
                ("tokens of the text", ENCODING_BYTES * load.encoded),
                // What the allocator keeps between blocks of many sizes.
                ("gaps", (weights + logits) / 9),
            ],
        )
    }

    fn is_resident(&self) -> bool {
        4 * self.facts.parameters <= RESIDENT_BYTES
    }

    /// What building the largest stage of the second model takes besides its weights, where stages are built one by one:
    /// the values as they are read, and the mapped pages of both files.
    fn building(&self) -> u64 {
        if self.is_resident() || self.is_integer_only() {
            return 0;
        }
        let largest = self.largest_stage(false);
        largest + MODELS * self.stored(largest / 4)
    }

    /// Weights in memory: the original as f32, and the result likewise or as the integer program it is.
    fn weights(&self) -> u64 {
        // A table that is tied to the head is held by both ends.
        let stages = self.facts.stages.iter();
        let all: u64 = stages.map(|stage| 4 * stage.parameters).sum();
        let original = if self.is_resident() {
            all
        } else {
            self.largest_stage(false)
        };
        if self.is_integer_only() {
            return original + 2 * self.artifact_bytes;
        }
        MODELS * original
    }

    /// Wall time of all evaluations.
    pub(super) fn evaluation_seconds(&self, loads: &[Load]) -> f64 {
        let each = loads.iter().map(|load| {
            let operations = (2 * MODELS * load.tokens) as f64 * self.computing();
            let running = operations / FLOPS_PER_THREAD / self.threads as f64;
            running + self.sampling_seconds(load.sampled)
        });
        each.sum()
    }

    fn load(&self, planned: &PlannedEvaluation) -> Load {
        let spec = &planned.spec;
        let limit = spec.limit.map_or(u64::MAX, |limit| limit as u64);
        let configured = spec.configure(TASKS).ok();
        let configured = configured.map(|(_, configured)| configured);
        let asked = configured.as_ref().and_then(|task| task.sequence_length());
        let made = configured.and_then(|task| task.tokens());
        let positions = self.facts.max_positions.unwrap_or(LENGTH);
        let length = asked.unwrap_or(positions.min(LENGTH)) as u64;
        let positions = positions as u64;
        if spec.data == SYNTHETIC {
            let length = length.min(data::SYNTHETIC_TOKENS as u64);
            let tokens = (data::SYNTHETIC_SAMPLES as u64).min(limit) * length;
            return Load {
                tokens,
                length,
                encoded: 0,
                sampled: tokens,
            };
        }
        let extent = data::extent_of(&spec.data);
        let text = extent.map_or(UNKNOWN_TOKENS, |extent| {
            extent.bytes / BYTES_PER_TOKEN as u64
        });
        let items = extent.and_then(|extent| extent.items);
        let (tokens, length, encoded) = match (self.facts.kind, items) {
            (ModelKind::Decoder, _) => {
                let run = made.map_or(text, |made| made as u64);
                (run.min(limit.saturating_mul(length)), length, text)
            }
            (kind, Some(items)) => {
                let items = items as u64;
                let each = if kind.is_vision() {
                    self.facts.graph.max_rows().unwrap_or(1) as u64
                } else {
                    // Two special tokens around every sentence.
                    (text / items.max(1) + 2).min(positions)
                };
                (items.min(limit) * each, each, 0)
            }
            (_, None) => (text, length, 0),
        };
        Load {
            tokens,
            length,
            encoded,
            sampled: 0,
        }
    }
}
