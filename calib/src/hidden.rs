//! The value between two stages, and the tap that sees activations inside one.

use crate::StageError;
use burn::tensor::{Int, Tensor};

/// The value between two stages: one batch of sequences (or images) of EQUAL length.
///
/// Batches never hold padding, so there is no attention mask anywhere; sequences of different
/// length travel in different batches.
#[derive(Debug, Clone)]
pub enum Hidden {
    /// Token ids `[batch, tokens]`, input of the first stage of a text model.
    Tokens(Tensor<2, Int>),
    /// Normalised pixels `[batch, channels, height, width]`, input of the first stage of a vision model.
    Pixels(Tensor<4>),
    /// Hidden states `[batch, tokens, width]`; after the last stage logits `[batch, tokens or 1, classes]`
    /// or, for encoders without a head, the last hidden states.
    States(Tensor<3>),
    /// The embedding `[batch, 1, width]` one tower of a model of two has made, on its way past the other.
    Embedding(Tensor<3>),
}

impl Hidden {
    /// The kind of value, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Tokens(_) => "token ids",
            Self::Pixels(_) => "pixels",
            Self::States(_) => "hidden states",
            Self::Embedding(_) => "an embedding",
        }
    }

    /// The token ids; `stage` is the name of the stage that asks.
    ///
    /// # Errors
    /// Another kind of value.
    pub fn into_tokens(self, stage: impl FnOnce() -> String) -> Result<Tensor<2, Int>, StageError> {
        match self {
            Self::Tokens(tokens) => Ok(tokens),
            other => Err(other.refuse(stage(), "token ids")),
        }
    }

    /// The pixels; `stage` is the name of the stage that asks.
    ///
    /// # Errors
    /// Another kind of value.
    pub fn into_pixels(self, stage: impl FnOnce() -> String) -> Result<Tensor<4>, StageError> {
        match self {
            Self::Pixels(pixels) => Ok(pixels),
            other => Err(other.refuse(stage(), "pixels")),
        }
    }

    /// The hidden states; `stage` is the name of the stage that asks.
    ///
    /// # Errors
    /// Another kind of value.
    pub fn into_states(self, stage: impl FnOnce() -> String) -> Result<Tensor<3>, StageError> {
        match self {
            Self::States(states) => Ok(states),
            other => Err(other.refuse(stage(), "hidden states")),
        }
    }

    /// Input `at` of the batch.
    #[must_use]
    pub fn row(&self, at: usize) -> Self {
        match self {
            Self::Tokens(ids) => Self::Tokens(ids.clone().narrow(0, at, 1)),
            Self::Pixels(pixels) => Self::Pixels(pixels.clone().narrow(0, at, 1)),
            Self::States(states) => Self::States(states.clone().narrow(0, at, 1)),
            Self::Embedding(states) => Self::Embedding(states.clone().narrow(0, at, 1)),
        }
    }

    /// The batch of `rows`, hidden states all.
    ///
    /// # Errors
    /// Another kind of value.
    pub fn joined(rows: Vec<Self>) -> Result<Self, StageError> {
        let rows = rows
            .into_iter()
            .map(|row| row.into_states(|| "batch".to_owned()));
        let rows = rows.collect::<Result<_, _>>()?;
        Ok(Self::States(Tensor::cat(rows, 0)))
    }

    fn refuse(&self, stage: String, expected: &'static str) -> StageError {
        StageError::Input {
            stage,
            expected,
            found: self.kind(),
        }
    }
}

/// Sees activations while a stage runs, each at its point and once per batch ([`crate::Model::points`]).
///
/// | point | what is seen |
/// |---|---|
/// | the input point of linear layers | their input; layers that share it (q, k, v; gate, up) share the point |
/// | `NAME:out` of a linear layer | its output, bias included |
/// | `NAME:in`, `NAME:out` of a normalisation | what it is given, what it returns |
/// | `NAME_in`, `NAME:out` of a patch projection | patches `[batch, patches, channels * patch * patch]`, their vectors |
///
/// Normalisations of single heads and a projection with the token table are not seen. Tensors are
/// borrowed, never copied, so a tap that ignores them costs nothing.
pub trait Tap {
    /// `values` is `[batch, tokens, width]`, `point` a name like `model.layers.3.attn_in`.
    fn observe(&mut self, point: &str, values: &Tensor<3>);

    /// The output of a linear layer; what is returned goes on to the next layer. By default that is `values`, only looked at.
    fn pass(&mut self, point: &str, values: Tensor<3>) -> Tensor<3> {
        self.observe(point, &values);
        values
    }

    /// Keys before the rotary embedding and values of self-attention, `[batch, kv_heads, tokens, dim]` each; what is returned
    /// is attended to.
    fn pass_key_value(&mut self, heads: [Tensor<4>; 2]) -> [Tensor<4>; 2] {
        heads
    }

    /// Whether every token is to be shown at `point`, the input of a layer of an expert, and not only those that its
    /// router sends there. What the block returns stays the routed output.
    fn wants_every_token(&self, _point: &str) -> bool {
        false
    }

    /// Whether everything wanted has been seen: a block may then stop between its halves, and its result
    /// means nothing.
    fn done(&self) -> bool {
        false
    }
}

/// Looks at nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoTap;

impl Tap for NoTap {
    fn observe(&mut self, _point: &str, _values: &Tensor<3>) {}
}

/// The values of a tensor as f32, row-major.
///
/// # Panics
/// Never for tensors of this crate: any float type converts to f32.
pub fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    let data = tensor.into_data().convert::<f32>();
    data.try_into_vec::<f32>()
        .expect("was converted to f32 just now")
}
