//! I-LayerNorm of I-ViT: as I-BERT's, with ten Newton steps and no shift.

use super::softmax::NUMERATOR;
use crate::integer::kernel::KernelConstants;
use crate::integer::kernels::EvenRequantization;
use crate::integer::kernels::rounded_quotient::rounded_mean;
use crate::integer::kernels::row_norm::{self, Statistics, centred_squares};
use crate::integer::square_root::ten_steps;
use crate::integer::{Arithmetic, Interval, WidthError};
use serde::{Deserialize, Serialize};

/// ```text
/// mu = round(sum q / C), half to even    y = q - mu    V = sum y^2
/// std = ten Newton steps from 2^16       f = (2^31 - 1) / std (floor)
/// n = floor(y f / 2)                     code = requantized n + bias[c], scale sqrt(C) / 2^30 gamma[c]
/// ```
///
/// The steps have not converged for `V` below about 2^14: rows of 8-bit codes of low variance come out
/// too small. Without variance `y = 0` and the offset alone remains.
///
/// | intermediate | bits with sign, inputs of `k` bits, `C` channels |
/// |---|---|
/// | sum | `k + ceil(log2 C)` |
/// | `y` | `k + 1`, at most 24 |
/// | `V` | `2 k + ceil(log2 C) + 1`, at most 63 |
/// | `std` | 49 |
/// | `f` | 32 |
/// | `y f` | 33: `y` is at most `std`, of either sign; declared 34 |
/// | `n + bias` | 62 |
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerNorm {
    /// `floor((beta[c] / gamma[c]) / (sqrt(C) / 2^30))`.
    pub bias: Vec<i64>,
    /// To output codes, a factor per channel.
    pub requantization: EvenRequantization,
}

impl LayerNorm {
    /// Mean and reciprocal deviation of a row.
    pub fn statistics<A: Arithmetic>(&self, arithmetic: &A, row: &[i32]) -> Statistics {
        let mean = rounded_mean(arithmetic, row);
        let variance = centred_squares(arithmetic, row, mean, 0);
        let deviation = ten_steps(arithmetic, variance);
        let reciprocal = arithmetic.div_floor(NUMERATOR, deviation);
        Statistics { mean, reciprocal }
    }
}

impl KernelConstants for LayerNorm {
    const KIND: &'static str = "layernorm.i-vit";

    fn compute<A: Arithmetic>(&self, arithmetic: &A, input: &[i32], output: &mut [i32]) {
        if input.is_empty() {
            return;
        }
        let affine = (self.bias.as_slice(), &self.requantization);
        self.statistics(arithmetic, input)
            .codes(arithmetic, affine, input, output);
    }

    fn bounds(&self, input: Interval, _width: usize) -> Result<Interval, WidthError> {
        input.within(32, "input of I-LayerNorm")?;
        let y = Interval::symmetric(input.high - input.low).within(24, "centred value")?;
        y.squared()
            .times(Interval::new(0, self.bias.len() as i128))
            .within(63, "sum of squares")?;
        row_norm::code_bounds(&self.bias, &self.requantization)
    }

    fn invalid(&self) -> Option<&'static str> {
        row_norm::invalid(&self.bias, &self.requantization)
    }
}
