//! i-softmax: i-exp requantized to 16 bits, and one integer division a row.

use super::Exponential;
use crate::integer::kernel::{KernelConstants, saturate};
use crate::integer::{Arithmetic, Dyadic, Interval, Rounding, WidthError};
use serde::{Deserialize, Serialize};

/// Most values of a row.
pub const MOST_VALUES: usize = 1 << 16;

/// With `e` of [`Exponential`] at `q - max q`:
///
/// ```text
/// e16 = clamp16(round(e 32767 / emax))     f = 2^32 / sum e16 (floor)
/// p   = min(e16 f / 2^(32 - bits) (floor), 2^bits - 1), scale 2^-bits
/// ```
///
/// `emax = q_c 2^30` is the value at 0, where the published code calibrates a range; a calibrated
/// range that reaches it gives the same integers. A probability of 1 would be `2^bits` and saturates.
///
/// | intermediate | bits with sign, `N` values in a row |
/// |---|---|
/// | `q - max q` | 33 |
/// | `e` | 63 |
/// | `e` times the multiplier | 94, the one 128-bit product |
/// | `e16` | 16 |
/// | sum | `16 + ceil(log2 N)`, at most 32 |
/// | `f` | 19: the largest `e16` is 32767 |
/// | `e16 f` | 34 |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Softmax {
    /// i-exp.
    pub exponential: Exponential,
    /// `32767 / emax`.
    pub to_sixteen_bits: Dyadic,
    /// Bits of a probability, 1 to 16.
    pub bits: u32,
}

impl Softmax {
    /// `e16` of each code.
    pub fn exponentials<A: Arithmetic>(&self, arithmetic: &A, input: &[i32], output: &mut [i32]) {
        let largest = i64::from(input.iter().copied().max().unwrap_or(0));
        for (code, value) in input.iter().zip(output) {
            let difference = arithmetic.sub(i64::from(*code), largest);
            let exponential = self.exponential.value(arithmetic, difference);
            let rounded =
                self.to_sixteen_bits
                    .apply_wide(arithmetic, exponential, Rounding::HalfEven);
            *value = saturate(arithmetic, rounded, i16::MIN.into(), i16::MAX.into());
        }
    }

    fn largest(&self) -> i32 {
        (1 << self.bits) - 1
    }
}

impl KernelConstants for Softmax {
    const KIND: &'static str = "softmax.i-bert";

    fn compute<A: Arithmetic>(&self, arithmetic: &A, input: &[i32], output: &mut [i32]) {
        self.exponentials(arithmetic, input, output);
        let sum = output
            .iter()
            .fold(0, |sum, value| arithmetic.add(sum, i64::from(*value)));
        if output.is_empty() {
            return;
        }
        let factor = arithmetic.div_floor(1 << 32, arithmetic.declared(sum, 32));
        let factor = arithmetic.declared(factor, 19);
        for value in output {
            let scaled = arithmetic.mul(i64::from(*value), factor);
            let scaled = arithmetic.declared(scaled, 34);
            let probability = arithmetic.shr(scaled, 32 - self.bits);
            *value = saturate(arithmetic, probability, 0, self.largest());
        }
    }

    fn bounds(&self, input: Interval, width: usize) -> Result<Interval, WidthError> {
        Interval::new(input.low - input.high, 0).within(33, "difference to the maximum")?;
        let exponentials = self.exponential.bounds()?;
        let factor = i128::from(self.to_sixteen_bits.multiplier);
        let scaled = exponentials
            .times(Interval::new(factor, factor))
            .within(94, "exponential times the multiplier")?;
        let top = (self.exponential.largest() * factor) >> self.to_sixteen_bits.shift;
        Interval::new(0, scaled.high >> self.to_sixteen_bits.shift)
            .within(17, "16-bit exponential")?;
        let values = i128::try_from(width).unwrap_or(i128::MAX >> 32);
        Interval::new(0, values * 32767).within(32, "sum of 16-bit exponentials")?;
        // Every row holds the maximum itself.
        Interval::new(0, (1_i128 << 32) / top.clamp(1, 32767))
            .within(19, "reciprocal of the sum")?;
        Ok(Interval::new(0, self.largest().into()))
    }

    fn invalid(&self) -> Option<&'static str> {
        if !(1..=16).contains(&self.bits) {
            Some("a softmax with bits out of range")
        } else if !(1..=94).contains(&self.to_sixteen_bits.shift)
            || !(1..=1 << 31).contains(&self.to_sixteen_bits.multiplier)
        {
            Some("a softmax with a factor out of range")
        } else {
            self.exponential.invalid()
        }
    }
}
