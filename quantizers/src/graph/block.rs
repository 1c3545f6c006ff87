//! A transformer block: attention and a feed-forward half around residuals.

use super::attention::AttentionNode;
use super::linear::LinearNode;
use super::mlp::MlpNode;
use super::norm::NormNode;
use super::tensors::TensorSpec;
use serde::{Deserialize, Serialize};

/// Where the two normalisations of a block sit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NormPlacement {
    /// `x + f(norm(x))`.
    Before,
    /// `norm(x + f(x))`.
    AfterResidual,
}

/// A block.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BlockNode {
    /// Position among the blocks, from 0.
    pub index: usize,
    /// Normalisation of the attention half; absent where the half reads the states as they are.
    pub attention_norm: Option<NormNode>,
    /// The attention half.
    pub attention: AttentionNode,
    /// Normalisation of the attention half's output, before the residual is added.
    pub attention_output_norm: Option<NormNode>,
    /// `[width]`: factors on the attention half's output, before the residual is added.
    pub attention_scale: Option<TensorSpec>,
    /// Normalisation of the feed-forward half. Where it is absent and the halves are parallel, both read what
    /// `attention_norm` makes.
    pub mlp_norm: Option<NormNode>,
    /// The feed-forward half.
    pub mlp: MlpNode,
    /// Normalisation of the feed-forward half's output, before the residual is added.
    pub mlp_output_norm: Option<NormNode>,
    /// `[width]`: factors on the feed-forward half's output, before the residual is added.
    pub mlp_scale: Option<TensorSpec>,
    /// Before each half, or after its residual.
    pub placement: NormPlacement,
    /// Both halves read the states that enter the block: `x + attention(x) + mlp(x)`.
    pub parallel: bool,
    /// Its weights are those of an earlier block: its linear layers are that block's.
    pub repeated: bool,
    /// Factor on the output of each half, 1 in most families.
    pub residual_scale: f64,
}

impl BlockNode {
    /// One half after the other, each with a norm at `placement`.
    pub fn new(
        index: usize,
        attention_norm: NormNode,
        attention: AttentionNode,
        mlp_norm: NormNode,
        mlp: MlpNode,
        placement: NormPlacement,
    ) -> Self {
        Self {
            index,
            attention_norm: Some(attention_norm),
            attention,
            attention_output_norm: None,
            attention_scale: None,
            mlp_norm: Some(mlp_norm),
            mlp,
            mlp_output_norm: None,
            mlp_scale: None,
            placement,
            parallel: false,
            repeated: false,
            residual_scale: 1.0,
        }
    }

    /// Its linear layers, in execution order.
    pub fn linears(&self) -> Vec<&LinearNode> {
        let mut layers = self.attention.linears();
        layers.extend(self.mlp.linears());
        layers
    }
}
