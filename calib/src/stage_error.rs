//! Why a stage cannot be built or run.

use crate::SourceError;
use crate::policy_error::PolicyError;
use thiserror::Error;

/// A stage that cannot be built or run.
#[derive(Debug, Error)]
pub enum StageError {
    /// A tensor could not be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A policy that cannot attend.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The wrong kind of input.
    #[error("stage `{stage}` expects {expected}, found {found}")]
    Input {
        /// Stage name.
        stage: String,
        /// Kind needed.
        expected: &'static str,
        /// Kind given.
        found: &'static str,
    },
    /// A model of unknown architecture.
    #[error("the architecture of the model is unknown: it cannot be run")]
    Unknown,
    /// A token id outside the vocabulary.
    #[error("token id {found}, expected 0..{vocabulary}")]
    Token {
        /// The id.
        found: i64,
        /// Size of the vocabulary.
        vocabulary: usize,
    },
    /// Images of another size than the model was made for.
    #[error("images of [channels, height, width] {found:?}, expected {expected:?}")]
    ImageShape {
        /// What the model takes.
        expected: [usize; 3],
        /// What came.
        found: [usize; 3],
    },
    /// More tokens than the model has positions.
    #[error("sequence of {found} tokens, expected at most {limit}")]
    TooLong {
        /// Tokens given.
        found: usize,
        /// Positions of the model.
        limit: usize,
    },
}

impl StageError {
    /// At most one line on what the user could do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Source(error) => error.hint(),
            _ => None,
        }
    }
}
