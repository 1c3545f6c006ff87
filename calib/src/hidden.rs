//! What flows from stage to stage, and who may look at it.

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
}

/// Sees the input of linear layers while a stage runs.
///
/// Layers that share an input (q, k, v; gate, up) share an input point and are seen once.
pub trait Tap {
    /// `input` is `[batch, tokens, width]`, `point` a name like `model.layers.3.self_attn.input`.
    fn observe(&mut self, point: &str, input: &Tensor<3>);
}

/// Looks at nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoTap;

impl Tap for NoTap {
    fn observe(&mut self, _point: &str, _input: &Tensor<3>) {}
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
