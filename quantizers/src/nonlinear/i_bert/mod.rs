//! I-BERT (Kim, Gholami, Yao, Mahoney, Keutzer, ICML 2021).
//!
//! Constants follow its released code where that differs from the paper: the square root of two is
//! 1.4142, `exp` uses the code's polynomial, and GELU drops bits of the error function.

pub mod gelu;
pub mod layernorm;
pub mod softmax;

use super::rounding::floor;
use crate::integer::kernels::i_bert::Exponential;

/// `ln 2` with the digits of the released code: the scale at which one unit is an octave.
#[expect(clippy::approx_constant, reason = "the digits of the released code")]
pub const OCTAVE: f64 = 0.6931;

/// Constants of i-exp for inputs of scale `scale`: `0.35815147 p^2 + 0.96963238 p + 1`.
pub fn exponential(scale: f64) -> Exponential {
    let (a, b, c) = (0.358_151_47, 0.969_632_38, 1.0);
    Exponential {
        q_ln2: floor(-OCTAVE / scale),
        q_b: floor(b / a / scale),
        q_c: floor(c / a / (scale * scale)),
    }
}

/// Scale of [`Exponential`]'s values.
pub fn exponential_scale(scale: f64) -> f64 {
    0.358_151_47 * scale * scale / 2.0_f64.powi(30)
}
