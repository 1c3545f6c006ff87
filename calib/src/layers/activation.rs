//! Activation functions, by the names config.json uses.

use super::fused;
use crate::encoder_graph::Inexpressible;
use burn::tensor::{Tensor, activation};
use quantizers::integer::compile::graph;
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

/// An element-wise nonlinearity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x · sigmoid(x)`.
    Silu,
    /// `x · Φ(x)` with the error function.
    Gelu,
    /// `x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³)))`.
    GeluTanh,
    /// `x · sigmoid(1.702 x)`.
    GeluQuick,
    /// `max(x, 0)`.
    Relu,
    /// `tanh(x)`.
    Tanh,
}

/// Every name transformers uses for an [`Activation`].
const NAMES: &[(&str, Activation)] = &[
    ("silu", Activation::Silu),
    ("swish", Activation::Silu),
    ("gelu", Activation::Gelu),
    ("gelu_python", Activation::Gelu),
    ("gelu_new", Activation::GeluTanh),
    ("gelu_fast", Activation::GeluTanh),
    ("gelu_pytorch_tanh", Activation::GeluTanh),
    ("gelu_python_tanh", Activation::GeluTanh),
    ("quick_gelu", Activation::GeluQuick),
    ("relu", Activation::Relu),
    ("tanh", Activation::Tanh),
];

impl Activation {
    /// The activation config.json calls `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        NAMES
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, activation)| *activation)
    }

    /// Every name [`Activation::from_name`] knows.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().map(|(name, _)| *name)
    }

    /// The activation as the integer-only compile step sees it.
    ///
    /// # Errors
    /// One it has no name for.
    pub fn node(self) -> Result<graph::Activation, Inexpressible> {
        match self {
            Self::Gelu => Ok(graph::Activation::Gelu),
            Self::GeluTanh => Ok(graph::Activation::GeluTanh),
            Self::Silu => Ok(graph::Activation::Silu),
            Self::Relu => Ok(graph::Activation::Relu),
            Self::GeluQuick => Err(Inexpressible("activates with `quick_gelu`")),
            Self::Tanh => Err(Inexpressible("activates with `tanh`")),
        }
    }

    /// Applies it element by element.
    pub fn forward<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        fused::activate(self, x)
    }

    /// Applies it to `gate` and multiplies with `up`, element by element.
    pub fn gate<const D: usize>(self, gate: Tensor<D>, up: Tensor<D>) -> Tensor<D> {
        fused::gate(self, gate, up)
    }

    /// [`Activation::forward`] in burn's own operations, for any device.
    pub(super) fn unfused<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Silu => activation::silu(x),
            Self::Gelu => activation::gelu(x),
            Self::GeluTanh => {
                let cube = x.clone() * x.clone() * x.clone();
                let inner = (x.clone() + cube * 0.044_715) * (FRAC_2_SQRT_PI * FRAC_1_SQRT_2);
                x * 0.5 * (inner.tanh() + 1.0)
            }
            Self::GeluQuick => x.clone() * activation::sigmoid(x * 1.702),
            Self::Relu => activation::relu(x),
            Self::Tanh => x.tanh(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    // Values of torch.nn.functional in float64 at -1.5 and 0.75.
    #[test]
    fn values_match_the_definitions() {
        let expected = [
            (Activation::Silu, [-0.273_638_3, 0.509_384]),
            (Activation::Gelu, [-0.100_210_8, 0.580_029_5]),
            (Activation::GeluTanh, [-0.100_428_42, 0.579_960_6]),
            (Activation::GeluQuick, [-0.108_337_8, 0.586_390_1]),
            (Activation::Relu, [0.0, 0.75]),
            (Activation::Tanh, [-0.905_148_25, 0.635_148_95]),
        ];
        for (activation, values) in expected {
            let x = Tensor::<1>::from_data([-1.5_f32, 0.75], &Device::flex());
            let out = activation
                .forward(x)
                .into_data()
                .try_to_vec::<f32>()
                .unwrap();
            for (found, value) in out.iter().zip(values) {
                assert!(
                    (found - value).abs() < 2e-7,
                    "{activation:?}: {found}, expected {value}"
                );
            }
        }
    }

    #[test]
    fn names_are_found_and_unknown_ones_are_not() {
        assert_eq!(
            Activation::from_name("gelu_new"),
            Some(Activation::GeluTanh)
        );
        assert_eq!(Activation::from_name("gelu_10"), None);
    }
}
