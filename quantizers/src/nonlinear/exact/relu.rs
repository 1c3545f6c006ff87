//! `ReLU` to the resolution of its outputs.

use super::elementwise::{Function, Polynomials};
use super::functions;
use crate::integer::kernels::exact::Shape;
use crate::nonlinear::Nonlinearity;

/// `max(x, 0)`: a table of up to 4096 codes, or a ramp from which nothing is subtracted.
pub static RELU: Function = Function {
    replaces: Nonlinearity::Relu,
    summary: "table of rounded outputs; wider inputs max(x, 0) and one rounding",
    exact: functions::relu,
    shape: Shape::Ramp,
    polynomials: |_resolution| Polynomials {
        reach: 1.0,
        segments: vec![[0; 4]],
    },
};
