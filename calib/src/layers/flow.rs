//! What a block works on: whole sequences, which a tap sees, or the next tokens of texts, rows in host memory.

use super::Constant;
use super::experts::Experts;
use super::fused;
use super::kernels::rows::{add, multiply_rows, scale_rows};
use super::mlp::Mlp;
use super::norm::Norm;
use super::self_attention::SelfAttention;
use crate::hidden::values;
use crate::{KeyValueCache, NoTap, StageError, Tap};
use burn::tensor::{Device, Tensor, TensorData};
use quantizers::scratch::Scratch;

/// The feed-forward half of a block.
#[expect(clippy::large_enum_variant, reason = "one per block")]
pub(super) enum FeedForward {
    /// One network.
    Dense(Mlp),
    /// Many, of which each token sees a few.
    Experts(Experts),
}

/// How the parts of a block are run on its values.
pub(super) trait Flow {
    /// The values of all tokens.
    type Values: Clone;

    fn normed(&mut self, norm: &Norm, x: Self::Values) -> Self::Values;
    /// Each channel by its factor.
    fn by_channel(&mut self, factors: &Constant<1>, x: Self::Values) -> Self::Values;
    fn scaled(&mut self, x: Self::Values, factor: f64) -> Self::Values;
    fn sum(&mut self, x: Self::Values, y: Self::Values) -> Self::Values;
    /// # Errors
    /// Those of the policy of attention, where there is one.
    fn attended(
        &mut self,
        attention: &SelfAttention,
        x: Self::Values,
    ) -> Result<Self::Values, StageError>;
    fn fed(&mut self, network: &FeedForward, x: Self::Values) -> Self::Values;
    /// Whether the second half of the block is wanted no more.
    fn is_done(&self) -> bool {
        false
    }
}

/// Whole sequences `[batch, tokens, width]`.
pub(super) struct Sequences<'a> {
    pub(super) tap: &'a mut dyn Tap,
    /// What is to remember them, where they are continued.
    pub(super) cache: Option<&'a mut KeyValueCache>,
}

impl Flow for Sequences<'_> {
    type Values = Tensor<3>;

    fn normed(&mut self, norm: &Norm, x: Tensor<3>) -> Tensor<3> {
        norm.seen(x, self.tap)
    }

    fn by_channel(&mut self, factors: &Constant<1>, x: Tensor<3>) -> Tensor<3> {
        x * factors.tensor().clone().unsqueeze::<3>()
    }

    fn scaled(&mut self, x: Tensor<3>, factor: f64) -> Tensor<3> {
        x * factor
    }

    fn sum(&mut self, x: Tensor<3>, y: Tensor<3>) -> Tensor<3> {
        fused::sum(x, y)
    }

    fn attended(
        &mut self,
        attention: &SelfAttention,
        x: Tensor<3>,
    ) -> Result<Tensor<3>, StageError> {
        match &mut self.cache {
            Some(cache) => attention.begin(x, cache),
            None => attention.forward(x, self.tap),
        }
    }

    fn fed(&mut self, network: &FeedForward, x: Tensor<3>) -> Tensor<3> {
        match network {
            FeedForward::Dense(mlp) => mlp.forward(x, self.tap),
            FeedForward::Experts(experts) => experts.forward(x, self.tap),
        }
    }

    fn is_done(&self) -> bool {
        self.tap.done()
    }
}

/// The next token of each of several texts, `[texts, width]`.
pub(super) struct NextOfEach<'a, 'c> {
    pub(super) caches: &'a mut [&'c mut KeyValueCache],
    pub(super) device: &'a Device,
}

impl Flow for NextOfEach<'_, '_> {
    type Values = Scratch<f32>;

    fn normed(&mut self, norm: &Norm, x: Scratch<f32>) -> Scratch<f32> {
        norm.rows(&x)
    }

    fn by_channel(&mut self, factors: &Constant<1>, mut x: Scratch<f32>) -> Scratch<f32> {
        multiply_rows(factors.values(), &mut x);
        x
    }

    fn scaled(&mut self, mut x: Scratch<f32>, factor: f64) -> Scratch<f32> {
        scale_rows(factor, &mut x);
        x
    }

    fn sum(&mut self, mut x: Scratch<f32>, y: Scratch<f32>) -> Scratch<f32> {
        add(&y, &mut x);
        x
    }

    fn attended(
        &mut self,
        attention: &SelfAttention,
        x: Scratch<f32>,
    ) -> Result<Scratch<f32>, StageError> {
        Ok(attention.next_of_each(&x, self.caches))
    }

    fn fed(&mut self, network: &FeedForward, x: Scratch<f32>) -> Scratch<f32> {
        match network {
            FeedForward::Dense(mlp) => mlp.rows(&x),
            // Its router gathers tokens as tensors.
            FeedForward::Experts(experts) => {
                let texts = self.caches.len();
                let shape = [texts, 1, x.len() / texts];
                let x = Tensor::from_data(TensorData::new(x.into_vec(), shape), self.device);
                values(experts.forward(x, &mut NoTap)).into()
            }
        }
    }
}
