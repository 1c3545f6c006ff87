//! Functions of one value, to the resolution of their outputs.

use super::elementwise::{Function, Polynomials};
use super::functions::{self, gelu_tanh_exponent};
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

/// `x / 2 (1 + tanh(y))`, `y = sqrt(2 / pi) (x + 0.044715 x^3)`: a table of up to 4096 codes, or
/// `max(x, 0) - u / (1 + e^(2y(u)))`, `u = |x|`, in minimax segments.
pub static GELU_TANH: Function = Function {
    replaces: Nonlinearity::GeluTanh,
    summary: "table of rounded outputs; wider inputs max(x, 0) - g(|x|), g in minimax cubics",
    exact: functions::gelu_tanh,
    shape: Shape::Ramp,
    polynomials: |resolution| {
        Polynomials::of(|u| u / (1.0 + gelu_tanh_exponent(u).exp()), resolution, 8.0)
    },
};

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

/// `x sigmoid(x)`: a table of up to 4096 codes, or `max(x, 0) - u / (1 + e^u)`, `u = |x|`, in minimax segments.
pub static SILU: Function = Function {
    replaces: Nonlinearity::Silu,
    summary: "table of rounded outputs; wider inputs max(x, 0) - g(|x|), g in minimax cubics",
    exact: functions::silu,
    shape: Shape::Ramp,
    polynomials: |resolution| Polynomials::of(|u| u / (1.0 + u.exp()), resolution, 22.0),
};

/// `tanh(x)`: a table of up to 4096 codes, or `sign(x) (1 - g(|x|))`, `g(u) = 2 / (1 + e^(2u))`, in minimax segments.
pub static TANH: Function = Function {
    replaces: Nonlinearity::Tanh,
    summary: "table of rounded outputs; wider inputs sign(x) (1 - g(|x|)), g in minimax cubics",
    exact: f64::tanh,
    shape: Shape::Step,
    polynomials: |resolution| Polynomials::of(|u| 2.0 / (1.0 + (2.0 * u).exp()), resolution, 10.0),
};
