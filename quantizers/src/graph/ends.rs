//! The first and the last stage: what becomes hidden states, and what becomes of them.

use super::activation::Activation;
use super::feed_forward::FeedForwardNode;
use super::linear::LinearNode;
use super::norm::NormNode;
use super::tensors::TensorSpec;
use serde::{Deserialize, Serialize};

/// A table of token vectors, plus whatever a family adds to them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TokenInputNode {
    /// `[vocabulary, width]`.
    pub tokens: TensorSpec,
    /// Factor on the token vectors.
    pub scale: f64,
    /// `[positions, width]`, one row per position (families without rotation).
    pub positions: Option<TensorSpec>,
    /// The row of the first position; the rows before it are not for text.
    pub first_position: usize,
    /// `[types, width]`, of which every token gets row 0.
    pub token_types: Option<TensorSpec>,
    /// Normalisation of the sum.
    pub norm: Option<NormNode>,
    /// From the width of the tables to that of the blocks, after the norm.
    pub projection: Option<LinearNode>,
    /// The same for the token vectors alone, before positions are added.
    pub word_projection: Option<LinearNode>,
}

impl TokenInputNode {
    /// A table of token vectors and nothing else.
    pub fn new(tokens: TensorSpec) -> Self {
        Self {
            tokens,
            scale: 1.0,
            positions: None,
            first_position: 0,
            token_types: None,
            norm: None,
            projection: None,
            word_projection: None,
        }
    }

    /// The longest sequence the position table has rows for.
    pub fn longest(&self) -> Option<usize> {
        let table = self.positions.as_ref()?;
        Some(table.shape[0].saturating_sub(self.first_position))
    }

    /// Width of the hidden states.
    pub fn width(&self) -> usize {
        let last = self.projection.as_ref().or(self.word_projection.as_ref());
        last.map_or(self.tokens.shape[1], |layer| layer.rows)
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
    /// Only the last: the end-of-text token, since batches hold no padding.
    Last,
    /// The mean of those from this one on, before the norm.
    MeanFrom(usize),
}

/// What becomes of the normalised positions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// The mean of those from this one on.
    MeanFrom(usize),
    /// The first one, then the mean of those from this one on: twice as wide.
    FirstAndMeanFrom(usize),
    /// Attention of one learned query, then a feed-forward half around a residual (`SigLIP`).
    Attention(Box<PoolingNode>),
}

/// Attention of one learned query over all positions: `y + mlp(norm(y))` with `y` what it attends to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PoolingNode {
    /// `[1, 1, width]`: the query before its projection.
    pub probe: TensorSpec,
    /// `[3 width, width]`: projections of query, key and value in one tensor, which is no linear layer of
    /// the checkpoint.
    pub projections: TensorSpec,
    /// `[3 width]`.
    pub projection_bias: TensorSpec,
    /// Projection of the attended values.
    pub output: LinearNode,
    /// Heads.
    pub heads: usize,
    /// Normalisation of the feed-forward half.
    pub norm: NormNode,
    /// The feed-forward half.
    pub mlp: FeedForwardNode,
}

/// The last linear map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Projection {
    /// A layer of its own.
    Layer(LinearNode),
    /// The token table `[vocabulary, width]` once more.
    Tied {
        /// The table.
        table: TensorSpec,
        /// `[vocabulary]`, added to the logits.
        bias: Option<TensorSpec>,
        /// Module name of the layer that a checkpoint with a table of its own has here.
        layer: String,
    },
    /// A layer for each of the first positions, in order; the mean of their results.
    Averaged(Vec<LinearNode>),
}

/// A layer between the last hidden states and the last linear map, with what follows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeadTransform {
    /// The layer.
    pub layer: LinearNode,
    /// The function of its output; absent: the output itself.
    pub activation: Option<Activation>,
    /// Normalisation of the result.
    pub norm: Option<NormNode>,
}

impl HeadTransform {
    /// A layer followed by tanh (the pooler of BERT).
    pub fn tanh(layer: LinearNode) -> Self {
        Self {
            layer,
            activation: Some(Activation::Tanh),
            norm: None,
        }
    }
}

/// Last stage. Steps that are absent are skipped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeadNode {
    /// Which positions it sees.
    pub positions: Positions,
    /// Final normalisation.
    pub norm: Option<NormNode>,
    /// From positions to one row.
    pub pooling: Option<Pooling>,
    /// What comes between; its result is seen at the input point of the projection.
    pub transform: Option<HeadTransform>,
    /// To logits.
    pub projection: Option<Projection>,
    /// Factor on the logits, 1 in most families.
    pub scale: f64,
    /// Logits become `cap · tanh(logit / cap)`.
    pub softcap: Option<f64>,
}

impl HeadNode {
    /// All positions through `norm` and `projection`, each where it is there.
    pub fn new(norm: Option<NormNode>, projection: Option<Projection>) -> Self {
        Self {
            positions: Positions::All,
            norm,
            pooling: None,
            transform: None,
            projection,
            scale: 1.0,
            softcap: None,
        }
    }
}
