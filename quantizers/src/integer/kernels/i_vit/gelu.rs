//! `ShiftGELU`: `x sigmoid(1.702 x)`, the sigmoid a two-term Shiftmax under the maximum of the row.

#![expect(
    clippy::inline_always,
    reason = "loops vectorise only when the arithmetic is inlined"
)]

use super::ShiftExponential;
use super::softmax::NUMERATOR;
use crate::integer::kernel::KernelConstants;
use crate::integer::kernels::EvenRequantization;
use crate::integer::{Arithmetic, Interval, WidthError};
use serde::{Deserialize, Serialize};

/// Bits of the sigmoid, as published.
pub const SIGMOID_BITS: u32 = 8;

/// With `M` the maximum of the row and `exp` the [`ShiftExponential`] of scale `1.702 S` (`n` = 23):
///
/// ```text
/// e = exp(q - M)     m = exp(-M)     s = min(e + m, 2^31 - 1)     f = (2^31 - 1) / s (floor)
/// g = q floor(e f / 2^24)            code = requantized g, scale S / 2^7
/// ```
///
/// The result of a value depends on the maximum of its row. In rows without a positive value `-M`
/// is positive, `m` outgrows 31 bits and the clamp of `s` falsifies the sigmoid: as published.
///
/// | intermediate | bits with sign, 8-bit codes |
/// |---|---|
/// | `q - M` | 9, at most 33 |
/// | `e` | 32 |
/// | `m` | 32 for `M >= 0`, at most 63 |
/// | `e f` | 33: `e <= s`, or `f = 1` |
/// | `g` | 16, at most 40 |
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gelu {
    /// `ShiftExp` of scale `1.702 S`.
    pub exponential: ShiftExponential,
    /// To output codes.
    pub requantization: EvenRequantization,
}

/// What every value of a row is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Maximum {
    /// `M`.
    pub code: i64,
    /// `m`.
    pub exponential: i64,
}

impl Gelu {
    /// Maximum of a row.
    pub fn maximum<A: Arithmetic>(&self, arithmetic: &A, row: &[i32]) -> Maximum {
        let code = i64::from(row.iter().copied().max().unwrap_or(0));
        let exponential = self.exponential.value(arithmetic, arithmetic.sub(0, code));
        Maximum { code, exponential }
    }

    /// `g` of a code.
    #[inline(always)]
    pub fn product<A: Arithmetic>(&self, arithmetic: &A, q: i32, row: Maximum) -> i64 {
        let q = i64::from(q);
        let exponential = self
            .exponential
            .value(arithmetic, arithmetic.sub(q, row.code));
        let exponential = arithmetic.declared(exponential, 32);
        let sum = arithmetic.add(exponential, row.exponential).min(NUMERATOR);
        let factor = arithmetic.div_floor(NUMERATOR, sum);
        let scaled = arithmetic.declared(arithmetic.mul(exponential, factor), 33);
        let sigmoid = arithmetic.shr(scaled, 32 - SIGMOID_BITS);
        arithmetic.declared(arithmetic.mul(q, sigmoid), 40)
    }
}

impl KernelConstants for Gelu {
    const KIND: &'static str = "gelu.i-vit";

    fn compute<A: Arithmetic>(&self, arithmetic: &A, input: &[i32], output: &mut [i32]) {
        let row = self.maximum(arithmetic, input);
        for (channel, (q, code)) in input.iter().zip(output).enumerate() {
            let product = self.product(arithmetic, *q, row);
            *code = self.requantization.code(arithmetic, product, channel);
        }
    }

    fn bounds(&self, input: Interval, _width: usize) -> Result<Interval, WidthError> {
        let differences = Interval::new(input.low - input.high, 0);
        differences.within(33, "difference to the maximum")?;
        let below = self.exponential.bounds(differences)?;
        let maxima = self
            .exponential
            .bounds(Interval::new(-input.high, -input.low))?;
        below.plus(maxima).within(64, "sum of ShiftGELU")?;
        let largest = -i128::from(self.exponential.x0) << self.exponential.octaves;
        Interval::new(0, largest).within(32, "value of ShiftGELU at 0")?;
        // `e f <= 2^31 - 1` unless the sum is clamped, and then `f = 1`.
        let scaled = largest.max(NUMERATOR.into()) >> (32 - SIGMOID_BITS);
        let product = input
            .times(Interval::new(0, scaled))
            .within(40, "product of ShiftGELU")?;
        self.requantization.bounds(product, 0)
    }

    fn invalid(&self) -> Option<&'static str> {
        self.exponential
            .invalid()
            .or_else(|| self.requantization.invalid(1))
    }
}
