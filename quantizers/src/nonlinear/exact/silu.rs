//! `SiLU` to the resolution of its outputs.

use super::elementwise::{Function, Polynomials};
use super::{FAMILY, functions};
use crate::integer::kernels::exact::Shape;
use crate::nonlinear::{Approximation, Compiled, InputForm, Nonlinearity, Refusal, Request};

/// `x sigmoid(x)`: a table of up to 4096 codes, or `max(x, 0) - u / (1 + e^u)`, `u = |x|`, in minimax segments.
#[derive(Debug)]
pub struct Silu;

static FUNCTION: Function = Function {
    replaces: Nonlinearity::Silu,
    exact: functions::silu,
    shape: Shape::Ramp,
    polynomials: |resolution| Polynomials::of(|u| u / (1.0 + u.exp()), resolution, 22.0),
};

impl Approximation for Silu {
    fn name(&self) -> &'static str {
        FAMILY
    }

    fn replaces(&self) -> Nonlinearity {
        Nonlinearity::Silu
    }

    fn summary(&self) -> &'static str {
        "table of rounded outputs; wider inputs max(x, 0) - g(|x|), g in minimax cubics"
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
