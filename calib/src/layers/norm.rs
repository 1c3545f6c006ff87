//! Normalisation over the last dimension: `RMSNorm` and `LayerNorm`.

use super::kernels::norm as kernel;
use super::{Constant, Loader, fused};
use crate::{SourceError, Tap};
use burn::tensor::Tensor;
use quantizers::graph::{NormKind, NormNode};
use quantizers::scratch::Scratch;

/// A normalisation with its weights: `LayerNorm` if there is a bias, else `RMSNorm`.
#[derive(Debug, Clone)]
pub struct Norm {
    weight: Constant<1>,
    bias: Option<Constant<1>>,
    epsilon: f64,
    /// Of the input, of the output.
    points: [String; 2],
}

impl Norm {
    /// Reads the layer `node`.
    ///
    /// # Errors
    /// A missing tensor or one of another shape.
    pub fn load(node: &NormNode, loader: &Loader<'_>) -> Result<Self, SourceError> {
        let stored = node.weight().map(|weight| loader.read(&weight));
        let weight: Tensor<1> = match stored.transpose()? {
            Some(weight) if node.one_plus => weight + 1.0,
            Some(weight) => weight,
            None => Tensor::ones([node.width], loader.device()),
        };
        let bias: Option<Tensor<1>> = match node.bias() {
            Some(bias) => Some(loader.read(&bias)?),
            None if node.kind == NormKind::Layer => {
                Some(Tensor::zeros([node.width], loader.device()))
            }
            None => None,
        };
        Ok(Self {
            weight: weight.into(),
            bias: bias.map(Constant::from),
            epsilon: node.epsilon,
            points: [node.input_point(), node.output_point()],
        })
    }

    /// Normalises `[batch, tokens, width]`, shown to `tap` before and after.
    pub fn seen(&self, input: Tensor<3>, tap: &mut dyn Tap) -> Tensor<3> {
        let [before, after] = &self.points;
        tap.observe(before, &input);
        let output = self.forward(input);
        tap.observe(after, &output);
        output
    }

    /// Normalises the last dimension; the shape stays. No tap sees it.
    pub fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        let bias = self.bias.as_ref().map(Constant::tensor);
        fused::norm(input, self.weight.tensor(), bias, self.epsilon)
    }

    /// The same of rows as wide as its weight, one after the other in host memory.
    pub fn rows(&self, input: &[f32]) -> Scratch<f32> {
        let mut out = Scratch::unwritten(input.len());
        let weight = self.weight.values();
        match &self.bias {
            None => kernel::rms_norm(input, weight, self.epsilon, &mut out),
            Some(bias) => {
                kernel::layer_norm(input, weight, bias.values(), self.epsilon, &mut out);
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    // Row [3, 4]: mean square 12.5, so x / sqrt(12.5) = [0.848528, 1.131371], weights [1, 2].
    #[test]
    fn rms_of_a_row_by_hand() {
        let device = Device::flex();
        let norm = Norm {
            weight: Tensor::from_data([1.0_f32, 2.0], &device).into(),
            bias: None,
            epsilon: 0.0,
            points: Default::default(),
        };
        let rows = Tensor::<2>::from_data([[3.0_f32, 4.0], [0.0, 5.0]], &device);
        let out = norm.forward(rows).into_data().try_to_vec::<f32>().unwrap();
        let expected = [0.848_528_1, 2.262_741_7, 0.0, 2.828_427];
        for (a, b) in out.iter().zip(expected) {
            assert!((a - b).abs() < 1e-6, "{a} {b}");
        }
    }

    // Row [1, 3]: mean 2, variance 1, so [-1, 1] · [2, 3] + [0.5, 0.25].
    #[test]
    fn layer_norm_of_a_row_by_hand() {
        let device = Device::flex();
        let norm = Norm {
            weight: Tensor::from_data([2.0_f32, 3.0], &device).into(),
            bias: Some(Tensor::from_data([0.5_f32, 0.25], &device).into()),
            epsilon: 0.0,
            points: Default::default(),
        };
        let rows = Tensor::<2>::from_data([[1.0_f32, 3.0]], &device);
        let out = norm.forward(rows).into_data().try_to_vec::<f32>().unwrap();
        for (a, b) in out.iter().zip([-1.5, 3.25]) {
            assert!((a - b).abs() < 1e-6, "{a} {b}");
        }
    }
}
