//! GELU in its tanh form, to the resolution of its outputs.

use super::FAMILY;
use super::elementwise::{Function, Polynomials};
use super::functions::{gelu_tanh, gelu_tanh_exponent};
use crate::integer::kernels::exact::Shape;
use crate::nonlinear::{Approximation, Compiled, InputForm, Nonlinearity, Refusal, Request};

/// `x / 2 (1 + tanh(y))`, `y = sqrt(2 / pi) (x + 0.044715 x^3)`: a table of up to 4096 codes, or
/// `max(x, 0) - u / (1 + e^(2y(u)))`, `u = |x|`, in minimax segments.
#[derive(Debug)]
pub struct GeluTanh;

static FUNCTION: Function = Function {
    replaces: Nonlinearity::GeluTanh,
    exact: gelu_tanh,
    shape: Shape::Ramp,
    polynomials: |resolution| {
        Polynomials::of(|u| u / (1.0 + gelu_tanh_exponent(u).exp()), resolution, 8.0)
    },
};

impl Approximation for GeluTanh {
    fn name(&self) -> &'static str {
        FAMILY
    }

    fn replaces(&self) -> Nonlinearity {
        Nonlinearity::GeluTanh
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
