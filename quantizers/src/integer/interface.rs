//! What goes into a program and what comes out of it.

use super::dyadic::Dyadic;
use serde::{Deserialize, Serialize};

/// What a program is fed with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum ProgramInput {
    /// Token ids.
    Tokens {
        /// Ids are below this.
        vocabulary: usize,
        /// Longest sequence.
        max_tokens: usize,
    },
    /// An image, preprocessed as for the original model, as codes.
    Pixels {
        /// `[channels, height, width]`.
        image: [usize; 3],
        /// Of each channel: value = factor (code - zero point).
        factors: Vec<Dyadic>,
        /// Of each channel.
        zero_points: Vec<i32>,
    },
}

/// What the output codes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputKind {
    /// One row of class logits.
    ClassLogits,
    /// One row of unit length.
    Embedding,
    /// A row for each token.
    HiddenStates,
}

/// What comes out of a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProgramOutput {
    /// What it is.
    pub kind: OutputKind,
    /// Values in a row.
    pub width: usize,
    /// value = factor code.
    pub factor: Dyadic,
    /// The buffer it is in.
    pub buffer: usize,
}
