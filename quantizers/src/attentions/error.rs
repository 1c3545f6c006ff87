//! What an attention method cannot be applied to.

use thiserror::Error;

/// A head group that a method cannot attend to as asked.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum AttentionError {
    /// Matrices of one group that do not fit together.
    #[error("{matrix}: expected {expected}, found [{rows}, {cols}]")]
    Shape {
        /// Which matrix.
        matrix: &'static str,
        /// The shape that would fit.
        expected: String,
        /// Rows found.
        rows: usize,
        /// Columns found.
        cols: usize,
    },
    /// A group without a query head.
    #[error("expected at least one query head, found none")]
    NoQueries,
    /// A group longer than positions are counted.
    #[error("expected fewer than 2^32 tokens, found {0}")]
    TooLong(usize),
    /// A query, key or value that is not finite.
    #[error(
        "{matrix}: value at token {token}, channel {channel} is {value}, expected a finite number"
    )]
    NotFinite {
        /// Which matrix.
        matrix: &'static str,
        /// Token.
        token: usize,
        /// Channel of the head.
        channel: usize,
        /// The value.
        value: f32,
    },
    /// A method that follows a sequence in order, on attention that sees all of it.
    #[error("`{0}` is defined for causal attention only")]
    CausalOnly(&'static str),
    /// A method that needs all keys at once, on causal attention.
    #[error("`{0}` is defined for bidirectional attention only")]
    BidirectionalOnly(&'static str),
    /// Positions to be assigned again in a model without rotary embedding.
    #[error("`{0}` assigns positions again and needs a rotary embedding")]
    NeedsRotary(&'static str),
}

impl AttentionError {
    /// What the user could do about it, in one line.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::CausalOnly(_) => {
                Some("`kdeformer`, `hyper` and `sink-window` take encoders".to_owned())
            }
            Self::BidirectionalOnly(_) => Some("`hyper` takes decoders".to_owned()),
            Self::NeedsRotary(_) => Some("set `positions = \"original\"`".to_owned()),
            _ => None,
        }
    }
}
