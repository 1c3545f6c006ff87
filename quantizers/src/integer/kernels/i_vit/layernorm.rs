//! I-LayerNorm of I-ViT: as I-BERT's, with ten Newton steps and no shift.

#![expect(
    clippy::inline_always,
    reason = "loops vectorise only when the arithmetic is inlined"
)]

use super::softmax::NUMERATOR;
use crate::integer::kernel::KernelConstants;
use crate::integer::kernels::EvenRequantization;
use crate::integer::kernels::i_bert::layernorm::{Statistics, affine_bounds, affine_codes};
use crate::integer::kernels::rounded_quotient::rounded_mean;
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
/// | `y f` | 33: `y` is at most `std`, of either sign |
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
        let variance = row.iter().fold(0, |sum, q| {
            let y = arithmetic.declared(arithmetic.sub(i64::from(*q), mean), 24);
            arithmetic.add(sum, arithmetic.mul(y, y))
        });
        let deviation = ten_steps(arithmetic, arithmetic.declared(variance, 63));
        let reciprocal = arithmetic.div_floor(NUMERATOR, deviation);
        Statistics { mean, reciprocal }
    }

    /// `n` of one value.
    #[inline(always)]
    pub fn normalised<A: Arithmetic>(&self, arithmetic: &A, q: i32, row: Statistics) -> i64 {
        let y = arithmetic.sub(i64::from(q), row.mean);
        let product = arithmetic.mul(y, row.reciprocal);
        arithmetic.shr(arithmetic.declared(product, 33), 1)
    }
}

impl KernelConstants for LayerNorm {
    const KIND: &'static str = "layernorm.i-vit";

    fn compute<A: Arithmetic>(&self, arithmetic: &A, input: &[i32], output: &mut [i32]) {
        if input.is_empty() {
            return;
        }
        let row = self.statistics(arithmetic, input);
        let normalised = |q| self.normalised(arithmetic, q, row);
        let affine = (self.bias.as_slice(), &self.requantization);
        affine_codes(arithmetic, affine, input, output, normalised);
    }

    fn bounds(&self, input: Interval, _width: usize) -> Result<Interval, WidthError> {
        input.within(32, "input of I-LayerNorm")?;
        let y = Interval::symmetric(input.high - input.low).within(24, "centred value")?;
        y.squared()
            .times(Interval::new(0, self.bias.len() as i128))
            .within(63, "sum of squares")?;
        affine_bounds(&self.bias, &self.requantization)
    }

    fn invalid(&self) -> Option<&'static str> {
        if self.bias.is_empty() {
            Some("a LayerNorm without channels")
        } else {
            self.requantization.invalid(self.bias.len())
        }
    }
}
