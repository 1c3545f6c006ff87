//! What a block does with its queries, keys and values, where that is not exact attention.

use crate::key_value_store::KeyValueStore;
use crate::layers::attention::{Scores, attend};
use crate::policy_error::PolicyError;
use burn::tensor::Tensor;
use std::fmt::Debug;
use std::sync::Arc;

/// Rotates keys `[batch, kv_heads, tokens, head_dim]` of a whole sequence to their positions, normalisations that come
/// after it included.
pub type Rotate = Arc<dyn Fn(Tensor<4>) -> Tensor<4> + Send + Sync>;

/// Queries, keys and values of one batch of whole sequences in one block.
#[derive(Clone)]
pub struct Attending {
    /// Number of the block.
    pub block: usize,
    /// `[batch, heads, tokens, head_dim]`, rotated.
    pub query: Tensor<4>,
    /// `[batch, kv_heads, tokens, head_dim]`, rotated: what a cache usually keeps.
    pub key: Tensor<4>,
    /// The same before the rotary embedding, normalised where the model does that first.
    pub unrotated: Tensor<4>,
    /// From `unrotated` to `key`; changes nothing in a model without rotary embedding.
    pub rotate: Rotate,
    /// `[batch, kv_heads, tokens, value_dim]`.
    pub value: Tensor<4>,
    /// How scores are made and who sees whom.
    pub scores: Scores,
}

impl Debug for Attending {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Attending")
            .field("block", &self.block)
            .field("query", &self.query.dims())
            .field("key", &self.key.dims())
            .field("value", &self.value.dims())
            .finish_non_exhaustive()
    }
}

/// Attention as a cache of fewer bits or a sparse method would do it.
pub trait AttentionPolicy: Debug + Send + Sync {
    /// Attended values `[batch, heads, tokens, value_dim]`.
    ///
    /// # Errors
    /// Whatever keeps the method from attending to these tokens.
    fn attend(&self, input: Attending) -> Result<Tensor<4>, PolicyError>;

    /// Where keys and values of one sequence in block `block` are kept while it is continued; as they are by default.
    ///
    /// # Errors
    /// A method that sees whole sequences only.
    fn store(&self, _block: usize) -> Result<Option<Box<dyn KeyValueStore>>, PolicyError> {
        Ok(None)
    }
}

/// A policy for each block, by number; exact attention where there is none.
#[derive(Debug)]
pub struct ByBlock(pub Vec<Option<Arc<dyn AttentionPolicy>>>);

impl AttentionPolicy for ByBlock {
    fn attend(&self, input: Attending) -> Result<Tensor<4>, PolicyError> {
        match self.0.get(input.block) {
            Some(Some(policy)) => policy.attend(input),
            _ => Ok(attend(input.query, input.key, input.value, &input.scores)),
        }
    }

    fn store(&self, block: usize) -> Result<Option<Box<dyn KeyValueStore>>, PolicyError> {
        match self.0.get(block) {
            Some(Some(policy)) => policy.store(block),
            _ => Ok(None),
        }
    }
}
