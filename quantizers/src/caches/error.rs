//! Shapes, samples and artifacts that a cache quantizer cannot take.

use super::shape::Part;
use thiserror::Error;

/// A cache that cannot be quantized as asked.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum CacheError {
    /// A head dimension that blocks do not divide.
    #[error(
        "`{method}` stores blocks of {block} elements: expected a head dimension of {} that is a multiple of {block}, found {found}",
        part.name()
    )]
    Block {
        /// Method name.
        method: &'static str,
        /// Which part.
        part: Part,
        /// Elements of a block.
        block: usize,
        /// Head dimension.
        found: usize,
    },
    /// A head dimension out of range.
    #[error("`{method}`: expected a head dimension of {} from {low} to {high}, found {found}", part.name())]
    HeadDim {
        /// Method name.
        method: &'static str,
        /// Which part.
        part: Part,
        /// Least possible.
        low: usize,
        /// Most possible.
        high: usize,
        /// Head dimension.
        found: usize,
    },
    /// No Hadamard matrix of the order is known here.
    #[error("`{method}`: found no Hadamard matrix of order {order} for the heads of the {}", part.name())]
    NoHadamard {
        /// Method name.
        method: &'static str,
        /// Which part.
        part: Part,
        /// Order needed.
        order: usize,
    },
    /// More channels than 16-bit indices of outliers can name.
    #[error("{found} channels of {}, expected at most 65536: outliers have 16-bit indices", part.name())]
    TooManyChannels {
        /// Which part.
        part: Part,
        /// Channels of a token.
        found: usize,
    },
    /// A choice for a block that the model does not have.
    #[error("`layers`: expected blocks 0 to {}, found {found}", layers.saturating_sub(1))]
    Layer {
        /// Blocks of the model.
        layers: usize,
        /// The block.
        found: usize,
    },
    /// No sample to fit to.
    #[error("needs samples of {} with more than {first} tokens, found none", part.name())]
    NoSamples {
        /// Which part.
        part: Part,
        /// Tokens of a sequence that do not count.
        first: usize,
    },
    /// A sample of another width than the layer's.
    #[error("expected {expected} channels of {} in sequence {sequence}, found {found}", part.name())]
    Channels {
        /// Which part.
        part: Part,
        /// Which sequence.
        sequence: usize,
        /// Channels of the layer.
        expected: usize,
        /// Columns given.
        found: usize,
    },
    /// Another number of gradients than of samples.
    #[error("expected gradients of {expected} sequences of {}, found {found}", part.name())]
    GradientSequences {
        /// Which part.
        part: Part,
        /// Sequences of samples.
        expected: usize,
        /// Sequences of gradients.
        found: usize,
    },
    /// A gradient of another length than its sample.
    #[error("expected gradients of {expected} tokens of {} in sequence {sequence}, found {found}", part.name())]
    GradientTokens {
        /// Which part.
        part: Part,
        /// Which sequence.
        sequence: usize,
        /// Tokens of the sample.
        expected: usize,
        /// Rows of the gradient.
        found: usize,
    },
    /// A sample or gradient that is not finite.
    #[error(
        "{} at sequence {sequence}, token {token}, channel {channel} are {value}, expected a finite number",
        part.name()
    )]
    NotFinite {
        /// Which part.
        part: Part,
        /// Which sequence.
        sequence: usize,
        /// Token.
        token: usize,
        /// Channel.
        channel: usize,
        /// The value.
        value: f32,
    },
    /// An artifact without a tensor.
    #[error("the artifact has no tensor `{0}`")]
    MissingTensor(String),
    /// An artifact with a tensor that the method does not have.
    #[error("the artifact has a tensor `{0}` that the method does not know")]
    UnknownTensor(String),
    /// A tensor of another shape or type.
    #[error("tensor `{name}`: expected {expected}, found {found}")]
    TensorForm {
        /// Tensor name.
        name: String,
        /// Type and shape needed.
        expected: String,
        /// Type and shape there.
        found: String,
    },
    /// A tensor with a value that cannot be.
    #[error("tensor `{name}`, value {at}: expected {expected}, found {found}")]
    TensorValue {
        /// Tensor name.
        name: String,
        /// Index of the value.
        at: usize,
        /// What would do.
        expected: &'static str,
        /// The value.
        found: f32,
    },
}

impl CacheError {
    /// What the user could do about it, in one line.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Block { .. } | Self::HeadDim { .. } => Some(
                "`int8-token-head`, `kvquant` and `kivi` with a `group` that divides the head take it"
                    .to_owned(),
            ),
            Self::NoHadamard { .. } => Some("set `rotation = \"qr\"`".to_owned()),
            Self::TooManyChannels { .. } => Some("set `outlier_fraction = 0`".to_owned()),
            _ => None,
        }
    }
}
