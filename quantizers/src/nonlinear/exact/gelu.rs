//! GELU to the resolution of its outputs.

use super::elementwise::{Function, Polynomials};
use super::minimax::{GELU_16, GELU_REACH};
use super::{FAMILY, functions};
use crate::integer::kernels::exact::Shape;
use crate::nonlinear::{Approximation, Compiled, InputForm, Nonlinearity, Refusal, Request};

/// `x Phi(x)`: a table of up to 4096 codes, or `max(x, 0) - g(|x|)` with 16 minimax segments.
#[derive(Debug)]
pub struct Gelu;

static FUNCTION: Function = Function {
    replaces: Nonlinearity::Gelu,
    exact: functions::gelu,
    shape: Shape::Ramp,
    polynomials: |_resolution| Polynomials {
        reach: GELU_REACH,
        segments: GELU_16.to_vec(),
    },
};

impl Approximation for Gelu {
    fn name(&self) -> &'static str {
        FAMILY
    }

    fn replaces(&self) -> Nonlinearity {
        Nonlinearity::Gelu
    }

    fn summary(&self) -> &'static str {
        "table of rounded outputs; wider inputs max(x, 0) - g(|x|), g in 16 minimax cubics"
    }

    fn published(&self) -> bool {
        false
    }

    fn input(&self) -> InputForm {
        InputForm::Codes {
            bits: 8,
            symmetric: false,
        }
    }

    fn compile(&self, request: &Request) -> Result<Compiled, Refusal> {
        FUNCTION.compile(request)
    }
}
