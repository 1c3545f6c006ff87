//! Normalisation over the last dimension: `RMSNorm` and `LayerNorm`.

use super::tensors::TensorSpec;
use serde::{Deserialize, Serialize};

/// Which normalisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NormKind {
    /// `x / sqrt(mean(x²) + eps) · weight` (Zhang & Sennrich 2019).
    Rms,
    /// `(x - mean) / sqrt(variance + eps) · weight + bias`, biased variance (Ba et al. 2016); some
    /// models have no bias.
    Layer,
}

/// What a normalisation reads from the checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NormParameters {
    /// Nothing: factors of one.
    None,
    /// Factors.
    Weight,
    /// Factors and offsets.
    WeightAndBias,
}

/// A normalisation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NormNode {
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
    /// Which parameters are stored.
    pub parameters: NormParameters,
    /// The stored factors are less by one: the norm multiplies with `1 + weight`.
    pub one_plus: bool,
}

impl NormNode {
    /// An `RMSNorm` named `name`.
    pub fn rms(name: impl Into<String>, width: usize, epsilon: f64) -> Self {
        Self {
            kind: NormKind::Rms,
            name: name.into(),
            width,
            epsilon,
            greek: false,
            parameters: NormParameters::Weight,
            one_plus: false,
        }
    }

    /// A `LayerNorm` named `name`.
    pub fn layer(name: impl Into<String>, width: usize, epsilon: f64) -> Self {
        Self {
            kind: NormKind::Layer,
            parameters: NormParameters::WeightAndBias,
            ..Self::rms(name, width, epsilon)
        }
    }

    /// With the parameters called `gamma` and `beta`.
    #[must_use]
    pub fn greek(self, greek: bool) -> Self {
        Self { greek, ..self }
    }

    /// The same with nothing stored.
    #[must_use]
    pub fn without_parameters(self) -> Self {
        Self {
            parameters: NormParameters::None,
            ..self
        }
    }

    /// Where the input is seen.
    pub fn input_point(&self) -> String {
        format!("{}:in", self.name)
    }

    /// Where the output is seen.
    pub fn output_point(&self) -> String {
        format!("{}:out", self.name)
    }

    /// The factors as stored, `[width]`; absent where nothing is stored.
    pub fn weight(&self) -> Option<TensorSpec> {
        let name = if self.greek { "gamma" } else { "weight" };
        (self.parameters != NormParameters::None).then(|| self.tensor(name))
    }

    /// The offsets, `[width]`, where there are any.
    pub fn bias(&self) -> Option<TensorSpec> {
        let name = if self.greek { "beta" } else { "bias" };
        (self.parameters == NormParameters::WeightAndBias).then(|| self.tensor(name))
    }

    fn tensor(&self, suffix: &str) -> TensorSpec {
        TensorSpec::new(format!("{}.{suffix}", self.name), [self.width])
    }
}
