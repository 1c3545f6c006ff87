//! Multi-head self-attention with its projections, as all families share it.

use super::distance::DistanceNode;
use super::linear::{LinearNode, LinearRows};
use super::norm::NormNode;
use super::patches::WindowsNode;
use super::rope::RopeNode;
use super::tensors::TensorSpec;
use crate::FloatType;
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
    /// Its own position and `reach` on either side (encoders).
    Local {
        /// Largest distance seen.
        reach: usize,
    },
}

impl Pattern {
    /// The keys that `query` sees among `keys`.
    pub fn visible(self, query: usize, keys: usize) -> Range<usize> {
        match self {
            Self::Full => 0..keys,
            Self::Causal => 0..query + 1,
            Self::Sliding { window } => (query + 1).saturating_sub(window)..query + 1,
            Self::Local { reach } => query.saturating_sub(reach)..(query + reach + 1).min(keys),
        }
    }

    /// Whether positions see only those before them.
    pub fn is_causal(self) -> bool {
        matches!(self, Self::Causal | Self::Sliding { .. })
    }
}

/// How the output of one layer holds queries, keys and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QkvLayout {
    /// All queries, then all keys, then all values.
    Concatenated,
    /// For each key-value head its query heads, its key head, its value head.
    ByKeyValueHead,
}

/// The projections to queries, keys and values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// One layer for all three.
    Fused {
        /// `[(heads + 2 kv_heads) · head_dim, width]`.
        layer: LinearNode,
        /// What its rows are.
        layout: QkvLayout,
    },
    /// Keys and values made from one narrow vector a token (multi-head latent attention, DeepSeek-V2).
    Latent(Box<LatentNode>),
}

/// Multi-head latent attention. A head of queries or keys has channels that are rotated, and channels that
/// are not; the rotated ones of the keys are the same for all heads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LatentNode {
    /// Queries.
    pub query: LatentQuery,
    /// `[rank + rotated, width]`: the latent vector, then the rotated channels of the keys.
    pub compress: LinearNode,
    /// Of the latent vector.
    pub norm: NormNode,
    /// `[heads · (plain + value), rank]`: for each head the other channels of the key, then the value.
    pub expand: LinearNode,
    /// Channels of a head that are not rotated; they come first in the rows of queries.
    pub plain: usize,
    /// Channels of a head that are rotated.
    pub rotated: usize,
    /// Channels of a value.
    pub value: usize,
}

/// How queries of latent attention are made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LatentQuery {
    /// By one layer.
    Direct(LinearNode),
    /// Through a narrow vector.
    LowRank {
        /// `[rank, width]`.
        down: LinearNode,
        /// Of the narrow vector.
        norm: NormNode,
        /// `[heads · head_dim, rank]`.
        up: LinearNode,
    },
}

impl QkvNode {
    /// One layer whose output is queries, then keys, then values.
    pub fn concatenated(layer: LinearNode) -> Self {
        Self::Fused {
            layer,
            layout: QkvLayout::Concatenated,
        }
    }
}

/// Normalisation of queries or keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueryKeyNorm {
    /// Each head by one norm as wide as a head.
    Head(NormNode),
    /// All heads of a position together, by one norm as wide as all of them.
    Joint(NormNode),
    /// Each head by a norm of its own, as wide as a head.
    EachHead(Vec<NormNode>),
    /// Each head on its own, with factors `[heads, head_dim]` in one tensor.
    Stacked {
        /// Kind, name and epsilon; as wide as a head, without parameters of its own.
        norm: NormNode,
        /// The factors.
        weight: TensorSpec,
    },
}

impl QueryKeyNorm {
    /// The tensors it reads.
    pub fn tensors(&self) -> Vec<TensorSpec> {
        let of = |norm: &NormNode| norm.weight().into_iter().chain(norm.bias());
        match self {
            Self::Head(norm) | Self::Joint(norm) => of(norm).collect(),
            Self::EachHead(norms) => norms.iter().flat_map(of).collect(),
            Self::Stacked { weight, .. } => vec![weight.clone()],
        }
    }

    /// Module name of the first norm.
    pub fn name(&self) -> &str {
        match self {
            Self::Head(norm) | Self::Joint(norm) | Self::Stacked { norm, .. } => &norm.name,
            Self::EachHead(norms) => norms.first().map_or("", |norm| &norm.name),
        }
    }
}

/// Linear biases (Press et al. 2022): slope times the position of the key is added to a score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SlopesNode {
    /// Of each query head.
    pub slopes: Vec<f32>,
    /// What the products are rounded to.
    pub rounded: FloatType,
    /// Factor on the rounded products.
    pub factor: f32,
}

impl SlopesNode {
    /// The published slopes of `heads` heads, `2^(-steepest · i / heads)` for i from 1, 8 being the usual
    /// `steepest`; for a number of heads that is no power of two, those of the next lower power and every other
    /// one of the next higher, if `interpolated`, else those of the next higher power, every second one first.
    pub fn published(heads: usize, steepest: f64, interpolated: bool) -> Self {
        let geometric = |count: usize| {
            (1..=count).map(move |i| 2.0_f64.powf(-steepest * i as f64 / count as f64))
        };
        let higher = heads.next_power_of_two();
        let slopes: Vec<f64> = if higher == heads {
            geometric(heads).collect()
        } else if interpolated {
            let lower = higher / 2;
            let between = geometric(higher).step_by(2);
            geometric(lower).chain(between).take(heads).collect()
        } else {
            let odd = geometric(higher).skip(1).step_by(2);
            odd.chain(geometric(higher).step_by(2))
                .take(heads)
                .collect()
        };
        Self {
            #[expect(clippy::cast_possible_truncation, reason = "scores are f32")]
            slopes: slopes.into_iter().map(|slope| slope as f32).collect(),
            rounded: FloatType::F32,
            factor: 1.0,
        }
    }
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
    /// Normalisation of the queries.
    pub query_norm: Option<QueryKeyNorm>,
    /// Normalisation of the keys.
    pub key_norm: Option<QueryKeyNorm>,
    /// Queries and keys are normalised after their rotation, not before.
    pub norm_after_rope: bool,
    /// Rotation of queries and keys.
    pub rope: Option<RopeNode>,
    /// Queries, keys and values are clamped to this magnitude, after the norms.
    pub clip: Option<f64>,
    /// Scores become `cap · tanh(score / cap)`.
    pub softcap: Option<f64>,
    /// What distance takes from a score (`ALiBi`).
    pub slopes: Option<SlopesNode>,
    /// What is added to a score for the distance of its key.
    pub distance: Option<DistanceNode>,
    /// A score for each head that takes part in the softmax and has no value, `[heads]`.
    pub sinks: Option<TensorSpec>,
    /// Positions lie on a grid and attend within windows of it.
    pub windows: Option<WindowsNode>,
}

impl AttentionNode {
    /// Plain attention of `heads` heads of width `head_dim`: scores divided by its root, nothing else.
    pub fn new(
        qkv: QkvNode,
        output: LinearNode,
        heads: usize,
        head_dim: usize,
        pattern: Pattern,
    ) -> Self {
        Self {
            qkv,
            output,
            heads,
            kv_heads: heads,
            head_dim,
            pattern,
            scale: (head_dim as f64).sqrt().recip(),
            query_norm: None,
            key_norm: None,
            norm_after_rope: false,
            rope: None,
            clip: None,
            softcap: None,
            slopes: None,
            distance: None,
            sinks: None,
            windows: None,
        }
    }

    /// The layers that read the input: three, or the fused one.
    pub fn projections(&self) -> Vec<&LinearNode> {
        match &self.qkv {
            QkvNode::Separate { query, key, value } => vec![query, key, value],
            QkvNode::Fused { layer, .. } => vec![layer],
            QkvNode::Latent(latent) => match &latent.query {
                LatentQuery::Direct(layer) => vec![layer, &latent.compress],
                LatentQuery::LowRank { down, .. } => vec![down, &latent.compress],
            },
        }
    }

    /// Layers and norms between those of [`Self::projections`] and the attention, in execution order.
    pub fn expansions(&self) -> Vec<(&NormNode, &LinearNode)> {
        let QkvNode::Latent(latent) = &self.qkv else {
            return Vec::new();
        };
        let mut expansions = Vec::new();
        if let LatentQuery::LowRank { norm, up, .. } = &latent.query {
            expansions.push((norm, up));
        }
        expansions.push((&latent.norm, &latent.expand));
        expansions
    }

    /// Its linear layers, in execution order.
    pub fn linears(&self) -> Vec<&LinearNode> {
        let mut layers = self.projections();
        let expansions = self.expansions().into_iter();
        layers.extend(expansions.map(|(_, layer)| layer));
        layers.extend(self.distance.iter().flat_map(DistanceNode::linears));
        layers.push(&self.output);
        layers
    }

    /// The rows that make queries, keys and values, in this order; `None` where they are not consecutive
    /// rows.
    pub fn query_key_value(&self) -> Option<[LinearRows<'_>; 3]> {
        match &self.qkv {
            QkvNode::Separate { query, key, value } => {
                Some([query, key, value].map(LinearNode::all_rows))
            }
            QkvNode::Latent(_) => None,
            QkvNode::Fused {
                layout: QkvLayout::ByKeyValueHead,
                ..
            } if self.kv_heads > 1 => None,
            QkvNode::Fused { layer, .. } => {
                let queries = self.heads * self.head_dim;
                let keys = queries + self.kv_heads * self.head_dim;
                let values = keys + self.kv_heads * self.head_dim;
                let parts = [0..queries, queries..keys, keys..values];
                Some(parts.map(|rows| LinearRows { layer, rows }))
            }
        }
    }
}
