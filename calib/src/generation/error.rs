//! Why no text comes.

use crate::StageError;
use crate::tokenizer::TokenizerError;
use thiserror::Error;

/// What ends a generation early.
#[derive(Debug, Error)]
pub enum GenerationError {
    /// The model is not one that continues text.
    #[error("expected a model that continues text, found one that {found}")]
    NotADecoder {
        /// What it does instead.
        found: &'static str,
    },
    /// There is nothing to continue.
    #[error("expected at least one token to continue, found none")]
    NoPrompt,
    /// The prompt alone is longer than the model takes.
    #[error("expected a prompt of at most {limit} tokens, found {found}")]
    TooLong {
        /// Tokens of the prompt.
        found: usize,
        /// Most the model takes, with room for one more.
        limit: usize,
    },
    /// The model has lost its mind.
    #[error("the logits after token {position} are not finite")]
    NotFinite {
        /// Tokens before.
        position: usize,
    },
    /// A stage cannot be built or run.
    #[error("the model cannot be run")]
    Stage(#[from] StageError),
    /// The tokenizer refuses.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
}
