//! tanh to the resolution of its outputs.

use super::elementwise::{Function, Polynomials};
use crate::integer::kernels::exact::Shape;
use crate::nonlinear::Nonlinearity;

/// `tanh(x)`: a table of up to 4096 codes, or `sign(x) (1 - g(|x|))`, `g(u) = 2 / (1 + e^(2u))`, in minimax segments.
pub static TANH: Function = Function {
    replaces: Nonlinearity::Tanh,
    summary: "table of rounded outputs; wider inputs sign(x) (1 - g(|x|)), g in minimax cubics",
    exact: f64::tanh,
    shape: Shape::Step,
    polynomials: |resolution| Polynomials::of(|u| 2.0 / (1.0 + (2.0 * u).exp()), resolution, 10.0),
};
