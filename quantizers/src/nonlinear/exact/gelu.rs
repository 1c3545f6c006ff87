//! GELU to the resolution of its outputs.

use super::elementwise::{Function, Polynomials};
use super::functions;
use super::minimax::{GELU_16, GELU_REACH};
use crate::integer::kernels::exact::Shape;
use crate::nonlinear::Nonlinearity;

/// `x Phi(x)`: a table of up to 4096 codes, or `max(x, 0) - g(|x|)` with 16 minimax segments.
pub static GELU: Function = Function {
    replaces: Nonlinearity::Gelu,
    summary: "table of rounded outputs; wider inputs max(x, 0) - g(|x|), g in 16 minimax cubics",
    exact: functions::gelu,
    shape: Shape::Ramp,
    polynomials: |_resolution| Polynomials {
        reach: GELU_REACH,
        segments: GELU_16.to_vec(),
    },
};
