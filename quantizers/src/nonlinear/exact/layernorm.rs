//! `LayerNorm` with exact mean and variance.

use super::checks::FAMILY;
use super::norm;
use crate::nonlinear::{
    Approximation, ApproximationError, Compiled, InputForm, Nonlinearity, Request,
};

/// `(x - mean) / sqrt(variance + eps) gamma + beta` with exact sums, an exact integer root and one
/// rounding to 16 fraction bits and one to the output.
#[derive(Debug)]
pub struct LayerNorm;

impl Approximation for LayerNorm {
    fn name(&self) -> &'static str {
        FAMILY
    }

    fn replaces(&self) -> Nonlinearity {
        Nonlinearity::LayerNorm
    }

    fn summary(&self) -> &'static str {
        "D = C q - sum q over the exact root of its variance, then one rounding a channel"
    }

    fn published(&self) -> bool {
        false
    }

    fn input(&self) -> InputForm {
        InputForm::Codes {
            bits: 16,
            symmetric: true,
        }
    }

    fn compile(&self, request: &Request) -> Result<Compiled, ApproximationError> {
        norm::compile(Nonlinearity::LayerNorm, true, request)
    }
}
