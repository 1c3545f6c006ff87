//! A transformer block: attention and a feed-forward half around residuals.

use super::activation::Activation;
use super::attention::AttentionNode;
use super::linear::LinearNode;
use super::norm::NormNode;
use serde::{Deserialize, Serialize};

/// A feed-forward network, plain or gated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedForwardNode {
    /// `[inner, width]`, passed through the activation and multiplied with `up` (gated only).
    pub gate: Option<LinearNode>,
    /// `[inner, width]`; passed through the activation unless there is a gate.
    pub up: LinearNode,
    /// `[width, inner]`.
    pub down: LinearNode,
    /// The nonlinearity.
    pub activation: Activation,
}

impl FeedForwardNode {
    /// The layers that read the input: gate, where there is one, and up.
    pub fn projections(&self) -> Vec<&LinearNode> {
        self.gate.iter().chain([&self.up]).collect()
    }
}

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
    /// Normalisation of the attention half.
    pub attention_norm: NormNode,
    /// The attention half.
    pub attention: AttentionNode,
    /// Normalisation of the feed-forward half.
    pub mlp_norm: NormNode,
    /// The feed-forward half.
    pub mlp: FeedForwardNode,
    /// Before each half, or after its residual.
    pub placement: NormPlacement,
}

impl BlockNode {
    /// Its linear layers, in execution order.
    pub fn linears(&self) -> Vec<&LinearNode> {
        let mut layers = self.attention.projections();
        layers.push(&self.attention.output);
        layers.extend(self.mlp.projections());
        layers.push(&self.mlp.down);
        layers
    }
}
