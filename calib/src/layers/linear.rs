//! A linear layer: `y = x Wᵀ + b`.

use super::weight::Weight;
use super::{Loader, fused};
use crate::{SourceError, Tap};
use burn::tensor::Tensor;
use quantizers::graph::LinearNode;

/// A linear layer with its weights.
#[derive(Debug, Clone)]
pub struct Linear {
    input_point: String,
    output_point: String,
    weight: Weight,
    bias: Option<Tensor<1>>,
}

impl Linear {
    /// Reads the layer `node`.
    ///
    /// # Errors
    /// A missing tensor or one of another shape.
    pub fn load(node: &LinearNode, loader: &Loader<'_>) -> Result<Self, SourceError> {
        let bias = node.bias_tensor();
        Ok(Self {
            weight: Weight::load(loader, &node.weight(), node.transposed)?,
            bias: bias.map(|bias| loader.read(&bias)).transpose()?,
            input_point: node.input_point.clone(),
            output_point: node.output_point(),
        })
    }

    /// Shows `input` to `tap` at this layer's input point. Called once for layers that share it.
    pub fn observe(&self, input: &Tensor<3>, tap: &mut dyn Tap) {
        tap.observe(&self.input_point, input);
    }

    /// `[batch, tokens, cols]` to `[batch, tokens, rows]`, shown to `tap` at this layer's output point.
    pub fn forward(&self, input: Tensor<3>, tap: &mut dyn Tap) -> Tensor<3> {
        let output = fused::linear(input, &self.weight, self.bias.as_ref());
        tap.pass(&self.output_point, output)
    }
}
