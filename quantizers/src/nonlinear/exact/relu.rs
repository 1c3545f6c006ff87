//! `ReLU` to the resolution of its outputs.

use super::elementwise::{Function, Polynomials};
use super::{FAMILY, functions};
use crate::integer::kernels::exact::Shape;
use crate::nonlinear::{Approximation, Compiled, InputForm, Nonlinearity, Refusal, Request};

/// `max(x, 0)`: a table of up to 4096 codes, or a ramp from which nothing is subtracted.
#[derive(Debug)]
pub struct Relu;

static FUNCTION: Function = Function {
    replaces: Nonlinearity::Relu,
    exact: functions::relu,
    shape: Shape::Ramp,
    polynomials: |_resolution| Polynomials {
        reach: 1.0,
        segments: vec![[0; 4]],
    },
};

impl Approximation for Relu {
    fn name(&self) -> &'static str {
        FAMILY
    }

    fn replaces(&self) -> Nonlinearity {
        Nonlinearity::Relu
    }

    fn summary(&self) -> &'static str {
        "table of rounded outputs; wider inputs max(x, 0) and one rounding"
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
