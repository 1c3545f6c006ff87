//! Multi-head self-attention with its projections, as all families share it.

use super::linear::{LinearNode, LinearRows};
use super::norm::NormNode;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Which keys a query sees. Batches hold no padding, so this is all the masking there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pattern {
    /// Every key (encoders).
    Full,
    /// Its own position and all before (decoders).
    Causal,
    /// Its own position and the `window - 1` before.
    Sliding {
        /// Keys a query sees at most.
        window: usize,
    },
}

impl Pattern {
    /// The keys that `query` sees among `keys`.
    pub fn visible(self, query: usize, keys: usize) -> Range<usize> {
        match self {
            Self::Full => 0..keys,
            Self::Causal => 0..query + 1,
            Self::Sliding { window } => (query + 1).saturating_sub(window)..query + 1,
        }
    }
}

/// How rotary frequencies are stretched for longer contexts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// All of them divided by `factor`.
    Linear {
        /// Divisor.
        factor: f32,
    },
    /// Llama 3.1: long wavelengths divided by `factor`, short ones kept, a ramp between.
    Llama3 {
        /// Divisor of the long wavelengths.
        factor: f32,
        /// Wavelengths above `original_positions / low_frequency` are divided.
        low_frequency: f32,
        /// Wavelengths below `original_positions / high_frequency` are kept.
        high_frequency: f32,
        /// Context length of the pretraining.
        original_positions: f32,
    },
}

/// Rotary position embedding of the first and second half of a head: channel `i` is rotated with
/// channel `i + head_dim / 2` by an angle of `position · theta^(-2i / head_dim)`, scaled.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RopeNode {
    /// Base of the frequencies.
    pub theta: f32,
    /// How they are stretched.
    pub scaling: RopeScaling,
}

/// The projections to queries, keys and values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QkvNode {
    /// Three layers over one input.
    Separate {
        /// `[heads · head_dim, width]`.
        query: LinearNode,
        /// `[kv_heads · head_dim, width]`.
        key: LinearNode,
        /// `[kv_heads · head_dim, width]`.
        value: LinearNode,
    },
    /// One layer whose output is queries, then keys, then values.
    Fused(LinearNode),
}

/// Self-attention.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttentionNode {
    /// Projections of the input.
    pub qkv: QkvNode,
    /// Projection of the attended values.
    pub output: LinearNode,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`. Each serves `heads / kv_heads` consecutive query heads.
    pub kv_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
    /// Which keys a query sees.
    pub pattern: Pattern,
    /// Factor on `Q Kᵀ`.
    pub scale: f64,
    /// Normalisation of each query head.
    pub query_norm: Option<NormNode>,
    /// Normalisation of each key head.
    pub key_norm: Option<NormNode>,
    /// Rotation of queries and keys.
    pub rope: Option<RopeNode>,
}

impl AttentionNode {
    /// The layers that read the input: three, or the fused one.
    pub fn projections(&self) -> Vec<&LinearNode> {
        match &self.qkv {
            QkvNode::Separate { query, key, value } => vec![query, key, value],
            QkvNode::Fused(layer) => vec![layer],
        }
    }

    /// The rows that make queries, keys and values, in this order.
    pub fn query_key_value(&self) -> [LinearRows<'_>; 3] {
        match &self.qkv {
            QkvNode::Separate { query, key, value } => {
                [query, key, value].map(LinearNode::all_rows)
            }
            QkvNode::Fused(layer) => {
                let queries = self.heads * self.head_dim;
                let keys = queries + self.kv_heads * self.head_dim;
                let values = keys + self.kv_heads * self.head_dim;
                [0..queries, queries..keys, keys..values].map(|rows| LinearRows { layer, rows })
            }
        }
    }
}
