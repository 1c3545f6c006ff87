//! Activation functions, by the names config.json uses.

use serde::{Deserialize, Serialize};

/// An element-wise nonlinearity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
    /// `max(x, 0)²`.
    ReluSquared,
    /// `tanh(x)`.
    Tanh,
}

/// Every name transformers uses for an [`Activation`]; the first one of each is what messages say.
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
    ("relu2", Activation::ReluSquared),
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

    /// The usual name.
    pub fn name(self) -> &'static str {
        NAMES
            .iter()
            .find(|(_, activation)| *activation == self)
            .map_or("", |(name, _)| *name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_and_unknown_ones_are_not() {
        assert_eq!(
            Activation::from_name("gelu_new"),
            Some(Activation::GeluTanh)
        );
        assert_eq!(Activation::from_name("gelu_10"), None);
        for name in Activation::names() {
            assert!(!Activation::from_name(name).unwrap().name().is_empty());
        }
    }
}
