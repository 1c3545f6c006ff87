//! From the stages of a model to the description integer-only execution is compiled from.

use quantizers::integer::compile::{Block, EncoderGraph, Head, Input};
use thiserror::Error;

/// A model that has no integer-only form here.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{architecture}` has no integer-only form: {stage} {reason}")]
pub struct GraphError {
    /// Family of the model.
    pub architecture: &'static str,
    /// The first stage that cannot be described.
    pub stage: String,
    /// What is in the way, as a predicate of the stage: `has causal attention`.
    pub reason: &'static str,
}

/// What an [`EncoderGraph`] has no words for, as a predicate of the stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inexpressible(pub &'static str);

/// An [`EncoderGraph`] that stages add themselves to, in order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sketch {
    /// Longest sequence, for models without a table of positions.
    pub max_tokens: Option<usize>,
    /// Width of the hidden states.
    pub width: usize,
    /// First stage.
    pub input: Option<Input>,
    /// Blocks so far.
    pub blocks: Vec<Block>,
    /// Last stage; without one the last block's output is the result.
    pub head: Head,
}

impl Sketch {
    /// The whole encoder.
    ///
    /// # Errors
    /// No stage took tokens or images.
    pub fn finish(self) -> Result<EncoderGraph, Inexpressible> {
        Ok(EncoderGraph {
            width: self.width,
            input: self.input.ok_or(Inexpressible("has no embedding"))?,
            blocks: self.blocks,
            head: self.head,
        })
    }
}
