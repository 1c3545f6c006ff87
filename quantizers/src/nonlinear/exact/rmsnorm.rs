//! `RMSNorm` with an exact mean square.

use super::checks::FAMILY;
use super::norm;
use crate::nonlinear::{
    Approximation, ApproximationError, Compiled, InputForm, Nonlinearity, Request,
};

/// `x / sqrt(mean(x^2) + eps) gamma` with an exact sum, an exact integer root and one rounding to 16
/// fraction bits and one to the output.
#[derive(Debug)]
pub struct RmsNorm;

impl Approximation for RmsNorm {
    fn name(&self) -> &'static str {
        FAMILY
    }

    fn replaces(&self) -> Nonlinearity {
        Nonlinearity::RmsNorm
    }

    fn summary(&self) -> &'static str {
        "C q over the exact root of its mean square, then one rounding a channel"
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
        norm::compile(Nonlinearity::RmsNorm, false, request)
    }
}
