//! What a method attends to, and what it gives back.

use super::AttentionError;
use crate::MatrixRef;
use crate::matrix::Matrix;

/// A rotary position embedding of one head.
pub trait Rotary: Sync {
    /// Rotates `row`, `[head_dim]`, to `position`.
    fn rotate(&self, position: usize, row: &mut [f32]);
    /// The inverse of [`Rotary::rotate`], up to rounding.
    fn unrotate(&self, position: usize, row: &mut [f32]);
}

/// One key-value head and the query heads it serves (grouped-query attention), over one sequence.
#[derive(Clone, Copy)]
pub struct HeadGroup<'a> {
    /// Queries of each query head, `[tokens, head_dim]`, after rotary embedding.
    pub queries: &'a [MatrixRef<'a>],
    /// Keys, `[tokens, head_dim]`, after rotary embedding.
    pub keys: MatrixRef<'a>,
    /// Values, `[tokens, value_dim]`.
    pub values: MatrixRef<'a>,
    /// What products of queries and keys are multiplied by, usually `1 / sqrt(head_dim)`.
    pub scale: f32,
    /// Whether a token sees itself and earlier tokens only.
    pub causal: bool,
    /// Index of the layer, from 0.
    pub layer: usize,
    /// Layers of the model.
    pub layers: usize,
    /// Index of the key-value head in its layer, from 0.
    pub head: usize,
    /// The embedding queries and keys went through, for methods that assign positions again.
    pub rotary: Option<&'a dyn Rotary>,
}

impl HeadGroup<'_> {
    /// Tokens of the sequence.
    pub fn tokens(&self) -> usize {
        self.keys.rows()
    }

    /// What [`super::SparseAttention::plan`] asks about this group.
    pub fn shape(&self) -> GroupShape {
        GroupShape {
            tokens: self.tokens(),
            head_dim: self.keys.cols(),
            value_dim: self.values.cols(),
            query_heads: self.queries.len(),
            causal: self.causal,
            rotary: self.rotary.is_some(),
            layer: self.layer,
            layers: self.layers,
        }
    }

    /// Checks that the matrices fit together and that every value is finite.
    ///
    /// # Errors
    /// The first matrix that does not fit, the first value that is not finite.
    pub fn check(&self) -> Result<(), AttentionError> {
        if self.queries.is_empty() {
            return Err(AttentionError::NoQueries);
        }
        let (tokens, head_dim) = (self.keys.rows(), self.keys.cols());
        if u32::try_from(tokens).is_err() {
            return Err(AttentionError::TooLong(tokens));
        }
        let keys = std::iter::once(("keys", self.keys));
        let queries = self.queries.iter().map(|queries| ("queries", *queries));
        for (matrix, found) in keys.chain(queries).chain([("values", self.values)]) {
            let is_value = matrix == "values";
            if found.rows() != tokens || !is_value && found.cols() != head_dim {
                let channels = if is_value {
                    "value_dim".to_owned()
                } else {
                    head_dim.to_string()
                };
                return Err(AttentionError::Shape {
                    matrix,
                    expected: format!("[{tokens}, {channels}]"),
                    rows: found.rows(),
                    cols: found.cols(),
                });
            }
            if let Some((token, channel, value)) = found.first_not_finite() {
                return Err(AttentionError::NotFinite {
                    matrix,
                    token,
                    channel,
                    value,
                });
            }
        }
        Ok(())
    }

    /// Products of queries and keys that exact attention computes.
    pub fn exact_evaluations(&self) -> u64 {
        let tokens = self.tokens() as u64;
        let of_a_head = if self.causal {
            tokens * (tokens + 1) / 2
        } else {
            tokens * tokens
        };
        of_a_head * self.queries.len() as u64
    }
}

/// What is known of a head group before anything runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupShape {
    /// Tokens of the sequence.
    pub tokens: usize,
    /// Channels of a query or key.
    pub head_dim: usize,
    /// Channels of a value.
    pub value_dim: usize,
    /// Query heads that share the keys and values.
    pub query_heads: usize,
    /// Whether a token sees itself and earlier tokens only.
    pub causal: bool,
    /// Whether the model has a rotary embedding.
    pub rotary: bool,
    /// Index of the layer, from 0.
    pub layer: usize,
    /// Layers of the model.
    pub layers: usize,
}

/// The outputs of a head group and what they cost.
#[derive(Debug, Clone, PartialEq)]
pub struct Attended {
    /// Outputs of each query head, `[tokens, value_dim]`.
    pub outputs: Vec<Matrix>,
    /// Products of length `head_dim` computed to decide what to look at or how much: of a query and a key, of a
    /// query and the representative of several keys, and of two keys. Hashes by sign projections and norms of
    /// values are linear in the tokens and not counted.
    pub score_evaluations: u64,
    /// Largest number of keys the method needs to hold at once, all kinds of storage together: what decides memory.
    pub kept_keys_max: usize,
}

/// Receives what a method looked at; for measurement only, as telling it costs time.
pub trait Seen {
    /// Whether the query at `token` is asked for.
    fn wants(&self, token: usize) -> bool;
    /// Whether only the outputs of those queries are of use: methods may leave out what no other output depends on, and
    /// do not count what they leave out.
    fn only(&self) -> bool {
        false
    }
    /// The query at `token` of query head `head` of the group looked at the keys at `positions`, with these shares of
    /// its output (`positions` may name a key twice, where a method sampled it twice). Shares are what the method
    /// multiplied a value with; they sum to 1 unless the method estimates the denominator from other keys.
    fn saw(&mut self, head: usize, token: usize, positions: &[u32], shares: &[f32]);
}
