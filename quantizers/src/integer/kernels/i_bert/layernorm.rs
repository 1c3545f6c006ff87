//! I-LayerNorm of I-BERT: rounded mean, Newton's root, one integer division a row.

use crate::integer::kernel::KernelConstants;
use crate::integer::kernels::EvenRequantization;
use crate::integer::kernels::rounded_quotient::rounded_mean;
use crate::integer::kernels::row_norm::{self, Statistics, centred_squares};
use crate::integer::square_root::square_root;
use crate::integer::{Arithmetic, Interval, WidthError};
use serde::{Deserialize, Serialize};

/// ```text
/// mu = round(sum q / C), half to even     y = q - mu
/// V = sum floor(y / 2^shift)^2            std = isqrt(V) 2^shift         f = 2^31 / std (floor)
/// n = floor(y f / 2)                      code = requantized n + bias[c], scale sqrt(C) / 2^30 gamma[c]
/// ```
///
/// `V = 0`, where the published code divides by zero, gives `n = 0`: the offset alone.
///
/// | intermediate | bits with sign, inputs of `k` bits, `C` channels |
/// |---|---|
/// | sum | `k + ceil(log2 C)` |
/// | `y` | `k + 1`, at most 24 |
/// | `V` | `2 (k - shift) + ceil(log2 C) + 1`, at most 63 |
/// | `std` | 33 |
/// | `f` | 33 |
/// | `y f` | 34: `y` is at most twice `std` |
/// | `n + bias` | 62 |
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerNorm {
    /// Bits dropped before squaring, fixed in calibration so that `V` fits 32 bits.
    pub shift: u32,
    /// `floor((beta[c] / gamma[c]) / (sqrt(C) / 2^30))`.
    pub bias: Vec<i64>,
    /// To output codes, a factor per channel.
    pub requantization: EvenRequantization,
}

impl LayerNorm {
    /// Mean and reciprocal deviation of a row.
    pub fn statistics<A: Arithmetic>(&self, arithmetic: &A, row: &[i32]) -> Statistics {
        let mean = rounded_mean(arithmetic, row);
        let variance = centred_squares(arithmetic, row, mean, self.shift);
        let root = square_root(arithmetic, variance);
        let deviation = arithmetic.declared(arithmetic.shl(root, self.shift), 33);
        let reciprocal = if deviation == 0 {
            0
        } else {
            arithmetic.div_floor(1 << 31, deviation)
        };
        Statistics { mean, reciprocal }
    }
}

impl KernelConstants for LayerNorm {
    const KIND: &'static str = "layernorm.i-bert";

    fn compute<A: Arithmetic>(&self, arithmetic: &A, input: &[i32], output: &mut [i32]) {
        if input.is_empty() {
            return;
        }
        let affine = (self.bias.as_slice(), &self.requantization);
        self.statistics(arithmetic, input)
            .codes(arithmetic, affine, input, output);
    }

    fn bounds(&self, input: Interval, _width: usize) -> Result<Interval, WidthError> {
        let channels = self.bias.len() as i128;
        input.within(32, "input of I-LayerNorm")?;
        // The mean is between the extremes, and is one of the integers there.
        let y = Interval::symmetric(input.high - input.low).within(24, "centred value")?;
        let shifted = Interval::new(y.low >> self.shift, y.high >> self.shift);
        let variance = shifted.squared().times(Interval::new(0, channels));
        let variance = variance.within(63, "sum of squares")?;
        let root = i128::from(square_root(
            &crate::integer::Wrapping,
            i64::try_from(variance.high).unwrap_or(i64::MAX),
        ));
        Interval::new(0, root << self.shift).within(33, "deviation")?;
        row_norm::code_bounds(&self.bias, &self.requantization)
    }

    fn invalid(&self) -> Option<&'static str> {
        if self.shift > 30 {
            return Some("a LayerNorm with a shift out of range");
        }
        row_norm::invalid(&self.bias, &self.requantization)
    }
}
