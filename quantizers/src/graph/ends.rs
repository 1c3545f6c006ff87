//! The first and the last stage: what becomes hidden states, and what becomes of them.

use super::linear::LinearNode;
use super::norm::NormNode;
use super::tensors::TensorSpec;
use serde::{Deserialize, Serialize};

/// A table of token vectors, plus whatever a family adds to them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TokenInputNode {
    /// `[vocabulary, width]`.
    pub tokens: TensorSpec,
    /// `[positions, width]`, one row per position (families without rotation).
    pub positions: Option<TensorSpec>,
    /// `[types, width]`, of which every token gets row 0.
    pub token_types: Option<TensorSpec>,
    /// Normalisation of the sum.
    pub norm: Option<NormNode>,
}

/// An image cut into square patches, each a vector, with a class token in front.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatchInputNode {
    /// `[width, channels, patch, patch]`.
    pub projection: TensorSpec,
    /// `[width]`.
    pub bias: TensorSpec,
    /// `[1, 1, width]`.
    pub class_token: TensorSpec,
    /// `[1, 1 + patches, width]`.
    pub positions: TensorSpec,
    /// `[channels, height, width]` of an image.
    pub image: [usize; 3],
}

impl PatchInputNode {
    /// The projection as the linear layer `[width, channels · patch · patch]` it is: its stride is its
    /// size. It is no linear layer of the checkpoint, which stores a convolution.
    pub fn layer(&self) -> LinearNode {
        let weight = &self.projection;
        let name = weight.name.strip_suffix(".weight").unwrap_or(&weight.name);
        LinearNode::outside(name, weight.shape[0], weight.shape[1..].iter().product())
            .with_bias(true)
    }

    /// Side of a patch.
    pub fn patch(&self) -> usize {
        self.projection.shape[2]
    }

    /// Patches of an image.
    pub fn patches(&self) -> usize {
        (self.image[1] / self.patch()) * (self.image[2] / self.patch())
    }
}

/// Which positions reach the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Positions {
    /// All of them, each on its own: the head works on any part of a sequence.
    All,
    /// Only the first (class token).
    First,
}

/// The last linear map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Projection {
    /// A layer of its own.
    Layer(LinearNode),
    /// The token table `[vocabulary, width]` once more.
    Tied(TensorSpec),
}

/// Last stage. Steps that are absent are skipped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeadNode {
    /// Which positions it sees.
    pub positions: Positions,
    /// Final normalisation.
    pub norm: Option<NormNode>,
    /// A linear layer followed by tanh, which is seen at the input point of the projection.
    pub pooler: Option<LinearNode>,
    /// To logits.
    pub projection: Option<Projection>,
}
