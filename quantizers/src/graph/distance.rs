//! Terms of attention scores that depend on how far apart query and key are.

use super::linear::LinearNode;
use super::norm::NormNode;
use super::patches::PositionBiasNode;
use super::tensors::TensorSpec;
use serde::{Deserialize, Serialize};

/// What is added to attention scores for the distance of a key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DistanceNode {
    /// A learned number for each range of distances and each head (`MPNet`, after T5).
    Bias(DistanceBias),
    /// A learned number for each offset on a grid and each head (`BEiT`, Swin).
    Offsets(PositionBiasNode),
    /// Products with learned vectors of distances (`DeBERTa`, He et al. 2021).
    Disentangled(Box<DisentangledNode>),
}

/// A learned number for each range of distances and each head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DistanceBias {
    /// `[buckets, heads]`: the first half for keys at or before the query, the second for those behind it.
    pub table: TensorSpec,
    /// Ranges of distances, an even number.
    pub buckets: usize,
    /// Distances from this one on share the last range.
    pub farthest: usize,
}

/// Products of queries and keys with learned vectors of distances.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DisentangledNode {
    /// `[2 span, width]`: a vector for each distance from `-span` to `span - 1`.
    pub table: TensorSpec,
    /// Normalisation of these vectors.
    pub norm: Option<NormNode>,
    /// Largest distance that has a vector.
    pub span: usize,
    /// Distances above half of this share vectors on a logarithmic scale; absent: none do.
    pub buckets: Option<usize>,
    /// The distance the logarithmic scale ends at.
    pub farthest: usize,
    /// What makes keys of the vectors, which meet the queries of tokens.
    pub key: Option<PositionLayer>,
    /// What makes queries of them, which meet the keys of tokens.
    pub query: Option<PositionLayer>,
}

/// The layer that makes queries or keys of distance vectors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PositionLayer {
    /// The one that makes those of tokens.
    Shared,
    /// One of its own.
    Own(LinearNode),
}

impl DistanceNode {
    /// Linear layers of its own, in execution order.
    pub fn linears(&self) -> Vec<&LinearNode> {
        let Self::Disentangled(node) = self else {
            return Vec::new();
        };
        let layers = [&node.key, &node.query].into_iter().flatten();
        let own = layers.filter_map(|layer| match layer {
            PositionLayer::Own(layer) => Some(layer),
            PositionLayer::Shared => None,
        });
        own.collect()
    }

    /// Tensors that are no linear layers.
    pub fn tensors(&self) -> Vec<TensorSpec> {
        match self {
            Self::Bias(bias) => vec![bias.table.clone()],
            Self::Offsets(bias) => vec![bias.table.clone()],
            Self::Disentangled(node) => {
                let norm = node.norm.as_ref();
                let norm = norm.map(|norm| norm.weight().into_iter().chain(norm.bias()));
                let table = std::iter::once(node.table.clone());
                table.chain(norm.into_iter().flatten()).collect()
            }
        }
    }
}
