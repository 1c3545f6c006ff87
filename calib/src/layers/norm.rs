//! Normalisation over the last dimension: `RMSNorm` and `LayerNorm`.

use super::{Inventory, Loader, TensorSpec, fused};
use crate::{SourceError, Tap};
use burn::tensor::Tensor;
use quantizers::integer::compile::NormNode;

/// Which normalisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormKind {
    /// `x / sqrt(mean(x²) + eps) · weight` (Zhang & Sennrich 2019).
    Rms,
    /// `(x - mean) / sqrt(variance + eps) · weight + bias`, biased variance (Ba et al. 2016).
    Layer,
}

/// What a normalisation reads.
#[derive(Debug, Clone, PartialEq)]
pub struct NormSpec {
    /// Which one.
    pub kind: NormKind,
    /// Module name in the checkpoint.
    pub name: String,
    /// Width of the normalised dimension.
    pub width: usize,
    /// Added to the variance.
    pub epsilon: f64,
    /// The parameters are called `gamma` and `beta` (checkpoints converted from TensorFlow) instead
    /// of `weight` and `bias`.
    pub greek: bool,
}

impl NormSpec {
    /// An `RMSNorm` named `name`.
    pub fn rms(name: impl Into<String>, width: usize, epsilon: f64) -> Self {
        Self {
            kind: NormKind::Rms,
            name: name.into(),
            width,
            epsilon,
            greek: false,
        }
    }

    /// A `LayerNorm` named `name`.
    pub fn layer(name: impl Into<String>, width: usize, epsilon: f64) -> Self {
        Self {
            kind: NormKind::Layer,
            name: name.into(),
            width,
            epsilon,
            greek: false,
        }
    }

    /// With the parameters called `gamma` and `beta`.
    #[must_use]
    pub fn greek(self, greek: bool) -> Self {
        Self { greek, ..self }
    }

    /// Adds its tensors and points to `inventory`.
    pub fn list(&self, inventory: &mut Inventory) {
        self.list_unseen(inventory);
        let node = self.node();
        inventory.point(node.input_point(), self.width);
        inventory.point(node.output_point(), self.width);
    }

    /// Adds its tensors alone: for a normalisation no [`Tap`] sees.
    pub fn list_unseen(&self, inventory: &mut Inventory) {
        inventory.tensor(self.weight());
        if self.kind == NormKind::Layer {
            inventory.tensor(self.bias());
        }
    }

    /// Reads the layer.
    ///
    /// # Errors
    /// A missing tensor or one of another shape.
    pub fn load(&self, loader: &Loader<'_>) -> Result<Norm, SourceError> {
        Ok(Norm {
            weight: loader.read(&self.weight())?,
            bias: match self.kind {
                NormKind::Rms => None,
                NormKind::Layer => Some(loader.read(&self.bias())?),
            },
            epsilon: self.epsilon,
            points: [self.node().input_point(), self.node().output_point()],
        })
    }

    /// The normalisation as the integer-only compile step sees it.
    pub fn node(&self) -> NormNode {
        NormNode {
            name: self.name.clone(),
            weight: self.weight().name,
            bias: (self.kind == NormKind::Layer).then(|| self.bias().name),
            epsilon: self.epsilon,
        }
    }

    fn weight(&self) -> TensorSpec {
        self.tensor(if self.greek { "gamma" } else { "weight" })
    }

    fn bias(&self) -> TensorSpec {
        self.tensor(if self.greek { "beta" } else { "bias" })
    }

    fn tensor(&self, suffix: &str) -> TensorSpec {
        TensorSpec::new(format!("{}.{suffix}", self.name), [self.width])
    }
}

/// A normalisation with its weights: `LayerNorm` if there is a bias, else `RMSNorm`.
#[derive(Debug, Clone)]
pub struct Norm {
    weight: Tensor<1>,
    bias: Option<Tensor<1>>,
    epsilon: f64,
    /// Of the input, of the output.
    points: [String; 2],
}

impl Norm {
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
        fused::norm(input, &self.weight, self.bias.as_ref(), self.epsilon)
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
            weight: Tensor::from_data([1.0_f32, 2.0], &device),
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
            weight: Tensor::from_data([2.0_f32, 3.0], &device),
            bias: Some(Tensor::from_data([0.5_f32, 0.25], &device)),
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
