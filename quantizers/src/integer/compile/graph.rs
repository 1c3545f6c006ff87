//! What an encoder computes, as the compile step needs to know it: names, shapes, wiring.
//!
//! Activations are named by *points*. A linear layer has the point its input is seen at (layers
//! with one input share it) and `NAME:out` for its output, bias included; a normalisation `NAME`
//! has `NAME:in` and `NAME:out`.

use crate::nonlinear::Nonlinearity;

/// A linear layer, `y = W x + b`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinearNode {
    /// Module name: `NAME.weight` `[rows, cols]`, `NAME.bias` `[rows]`.
    pub name: String,
    /// Output channels.
    pub rows: usize,
    /// Inputs.
    pub cols: usize,
    /// Whether there is a bias.
    pub bias: bool,
    /// Point of the input.
    pub input_point: String,
}

impl LinearNode {
    /// Point of the output.
    pub fn output_point(&self) -> String {
        format!("{}:out", self.name)
    }
}

/// A normalisation over the last axis.
#[derive(Debug, Clone, PartialEq)]
pub struct NormNode {
    /// Module name, for points.
    pub name: String,
    /// Tensor of the factors, `[width]`.
    pub weight: String,
    /// Tensor of the offsets, `[width]`; absent for `RMSNorm`.
    pub bias: Option<String>,
    /// Added to the variance.
    pub epsilon: f64,
}

impl NormNode {
    /// Point of the input.
    pub fn input_point(&self) -> String {
        format!("{}:in", self.name)
    }

    /// Point of the output.
    pub fn output_point(&self) -> String {
        format!("{}:out", self.name)
    }
}

/// What becomes hidden states first.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// Token ids.
    Text {
        /// Tensor `[vocabulary, width]`.
        tokens: String,
        /// Size of the vocabulary.
        vocabulary: usize,
        /// Tensor `[positions, width]`.
        positions: Option<String>,
        /// Tensor `[types, width]`, of which row 0 is added.
        token_types: Option<String>,
        /// Longest sequence.
        max_tokens: usize,
        /// Normalisation of the sum.
        norm: Option<NormNode>,
    },
    /// Square patches of an image, a class token in front.
    Image {
        /// Tensor `[width, channels, patch, patch]`.
        projection: String,
        /// Tensor `[width]`.
        bias: String,
        /// Tensor `[1, 1, width]`.
        class_token: String,
        /// Tensor `[1, 1 + patches, width]`.
        positions: String,
        /// `[channels, height, width]` of an image.
        image: [usize; 3],
        /// Side of a patch.
        patch: usize,
        /// Point of the pixels: `[patches, channels * patch * patch]`.
        input_point: String,
    },
}

/// The nonlinearity of a feed-forward half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x Phi(x)`.
    Gelu,
    /// The tanh form of GELU.
    GeluTanh,
    /// `x sigmoid(x)`.
    Silu,
    /// `max(x, 0)`.
    Relu,
}

impl Activation {
    /// The function that replaces it.
    pub fn nonlinearity(self) -> Nonlinearity {
        match self {
            Self::Gelu => Nonlinearity::Gelu,
            Self::GeluTanh => Nonlinearity::GeluTanh,
            Self::Silu => Nonlinearity::Silu,
            Self::Relu => Nonlinearity::Relu,
        }
    }
}

/// One block: attention and a plain feed-forward half.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// Position among the blocks.
    pub index: usize,
    /// Queries.
    pub query: LinearNode,
    /// Keys.
    pub key: LinearNode,
    /// Values.
    pub value: LinearNode,
    /// Output projection; its input point is the attended values.
    pub output: LinearNode,
    /// Heads.
    pub heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Factor on `Q K^T`.
    pub scale: f64,
    /// Normalisation of the attention half.
    pub attention_norm: NormNode,
    /// First layer of the feed-forward half.
    pub up: LinearNode,
    /// Second layer; its input point is the activation's output.
    pub down: LinearNode,
    /// Between them.
    pub activation: Activation,
    /// Normalisation of the feed-forward half.
    pub mlp_norm: NormNode,
    /// `x + f(norm(x))` if true, `norm(x + f(x))` if not.
    pub pre_norm: bool,
}

/// What becomes of the last hidden states.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Head {
    /// Only the first position goes on.
    pub first_only: bool,
    /// Final normalisation.
    pub norm: Option<NormNode>,
    /// A linear layer followed by tanh; the tanh is seen at the classifier's input point.
    pub pooler: Option<LinearNode>,
    /// To class logits.
    pub classifier: Option<LinearNode>,
}

/// A whole encoder.
#[derive(Debug, Clone, PartialEq)]
pub struct EncoderGraph {
    /// Width of the hidden states.
    pub width: usize,
    /// First stage.
    pub input: Input,
    /// Blocks, in order.
    pub blocks: Vec<Block>,
    /// Last stage.
    pub head: Head,
}
