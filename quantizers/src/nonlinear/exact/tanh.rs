//! tanh to the resolution of its outputs.

use super::FAMILY;
use super::elementwise::{Function, Polynomials};
use crate::integer::kernels::exact::Shape;
use crate::nonlinear::{Approximation, Compiled, InputForm, Nonlinearity, Refusal, Request};

/// `tanh(x)`: a table of up to 4096 codes, or `sign(x) (1 - g(|x|))`, `g(u) = 2 / (1 + e^(2u))`, in minimax segments.
#[derive(Debug)]
pub struct Tanh;

static FUNCTION: Function = Function {
    replaces: Nonlinearity::Tanh,
    exact: f64::tanh,
    shape: Shape::Step,
    polynomials: |resolution| Polynomials::of(|u| 2.0 / (1.0 + (2.0 * u).exp()), resolution, 10.0),
};

impl Approximation for Tanh {
    fn name(&self) -> &'static str {
        FAMILY
    }

    fn replaces(&self) -> Nonlinearity {
        Nonlinearity::Tanh
    }

    fn summary(&self) -> &'static str {
        "table of rounded outputs; wider inputs sign(x) (1 - g(|x|)), g in minimax cubics"
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
