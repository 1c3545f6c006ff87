//! What is asked of a decoder, and how its text may end.

use super::choice::Sampling;

/// What is to be continued, and how far.
#[derive(Debug, Clone)]
pub struct Continuation {
    /// Tokens of the prompt.
    pub prompt: Vec<u32>,
    /// Most tokens that are added.
    pub max_tokens: usize,
    /// How they are drawn.
    pub sampling: Sampling,
    /// Texts that end it; one that is a token of its own is compared as such.
    pub stops: Vec<String>,
}

/// Why it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// A token that ends a text, or a stop string.
    Stop,
    /// As many tokens as were asked for, or as the model takes.
    Length,
    /// Whoever is shown the text wanted no more.
    Cancelled,
}

impl FinishReason {
    /// Its name in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::Cancelled => "cancelled",
        }
    }
}
