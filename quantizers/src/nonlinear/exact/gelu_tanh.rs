//! GELU in its tanh form, to the resolution of its outputs.

use super::elementwise::{Function, Polynomials};
use super::functions::{gelu_tanh, gelu_tanh_exponent};
use crate::integer::kernels::exact::Shape;
use crate::nonlinear::Nonlinearity;

/// `x / 2 (1 + tanh(y))`, `y = sqrt(2 / pi) (x + 0.044715 x^3)`: a table of up to 4096 codes, or
/// `max(x, 0) - u / (1 + e^(2y(u)))`, `u = |x|`, in minimax segments.
pub static GELU_TANH: Function = Function {
    replaces: Nonlinearity::GeluTanh,
    summary: "table of rounded outputs; wider inputs max(x, 0) - g(|x|), g in minimax cubics",
    exact: gelu_tanh,
    shape: Shape::Ramp,
    polynomials: |resolution| {
        Polynomials::of(|u| u / (1.0 + gelu_tanh_exponent(u).exp()), resolution, 8.0)
    },
};
