//! A linear layer: `y = x Wᵀ + b`, with `x` rounded first where the source of the weights says so.

use super::weight::Weight;
use super::{Constant, Loader, fused};
use crate::{SourceError, Tap};
use burn::tensor::Tensor;
use quantizers::graph::LinearNode;
use quantizers::grid::InputQuantizer;
use quantizers::scratch::Scratch;

/// A linear layer with its weights.
#[derive(Debug, Clone)]
pub struct Linear {
    input_point: String,
    output_point: String,
    weight: Weight,
    bias: Option<Constant<1>>,
    inputs: Option<InputQuantizer>,
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
            bias: bias
                .map(|bias| loader.read(&bias))
                .transpose()?
                .map(Constant::from),
            input_point: node.input_point.clone(),
            output_point: node.output_point(),
            inputs: loader.input_quantizer(&node.name)?,
        })
    }

    /// Where its input is seen.
    pub fn input_point(&self) -> &str {
        &self.input_point
    }

    /// How many values a row of its input has.
    pub fn inputs(&self) -> usize {
        self.weight.inputs()
    }

    /// Shows `input` to `tap` at this layer's input point, before any rounding. Called once for layers that share it.
    pub fn observe(&self, input: &Tensor<3>, tap: &mut dyn Tap) {
        tap.observe(&self.input_point, input);
    }

    /// `[batch, tokens, cols]` to `[batch, tokens, rows]`; the output is shown to `tap` at this layer's output point.
    pub fn forward(&self, input: Tensor<3>, tap: &mut dyn Tap) -> Tensor<3> {
        let input = match self.inputs {
            Some(quantizer) => fused::round_inputs(quantizer, input),
            None => input,
        };
        let output = fused::linear(input, &self.weight, self.bias.as_ref());
        tap.pass(&self.output_point, output)
    }

    /// `[n, cols]` to `[n, rows]` in host memory, for the next tokens of texts: no tap sees them.
    pub fn rows(&self, input: &[f32]) -> Scratch<f32> {
        let (weight, bias) = self.weight_and_bias();
        match self.inputs {
            Some(quantizer) => {
                let mut rounded = Scratch::copied(input);
                quantizer.round(&mut rounded, self.inputs().max(1));
                fused::linear_of_rows(&rounded, weight, bias)
            }
            None => fused::linear_of_rows(input, weight, bias),
        }
    }

    /// The same by several layers that read the same input.
    pub fn rows_of_each<const N: usize>(layers: [&Self; N], input: &[f32]) -> [Scratch<f32>; N] {
        if layers.iter().any(|layer| layer.inputs.is_some()) {
            return layers.map(|layer| layer.rows(input));
        }
        fused::linear_of_each(input, layers.map(Self::weight_and_bias))
    }

    fn weight_and_bias(&self) -> (&Weight, Option<&Constant<1>>) {
        (&self.weight, self.bias.as_ref())
    }
}
