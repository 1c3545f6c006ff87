//! `SiLU` to the resolution of its outputs.

use super::elementwise::{Function, Polynomials};
use super::functions;
use crate::integer::kernels::exact::Shape;
use crate::nonlinear::Nonlinearity;

/// `x sigmoid(x)`: a table of up to 4096 codes, or `max(x, 0) - u / (1 + e^u)`, `u = |x|`, in minimax segments.
pub static SILU: Function = Function {
    replaces: Nonlinearity::Silu,
    summary: "table of rounded outputs; wider inputs max(x, 0) - g(|x|), g in minimax cubics",
    exact: functions::silu,
    shape: Shape::Ramp,
    polynomials: |resolution| Polynomials::of(|u| u / (1.0 + u.exp()), resolution, 22.0),
};
