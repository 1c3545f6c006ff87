//! Shiftmax: `ShiftExp` over its sum.

use super::ShiftExponential;
use crate::integer::kernel::{KernelConstants, saturate};
use crate::integer::{Arithmetic, Interval, WidthError};
use serde::{Deserialize, Serialize};

/// With `e` of [`ShiftExponential`] (`n` = 15) at `q - max q`:
///
/// ```text
/// T = min(sum e, 2^31 - 1)     f = (2^31 - 1) / T (floor)     p = floor(e f / 2^(32 - bits))
/// ```
///
/// of scale `2^-(bits - 1)`. Sums that reach `2^31 - 1` would be clamped and the probabilities wrong;
/// [`KernelConstants::bounds`] refuses row lengths that can get there.
///
/// | intermediate | bits with sign, `N` values in a row |
/// |---|---|
/// | `q - max q` | 33 |
/// | `e` | 32 |
/// | sum | `33 + ceil(log2 N)`; 32 once it is known not to be clamped |
/// | `f` | 32 |
/// | `e f` | 33: `e <= T` |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Softmax {
    /// `ShiftExp`.
    pub exponential: ShiftExponential,
    /// Bits of a probability with sign, 2 to 31.
    pub bits: u32,
}

/// `2^31 - 1`, the numerator of every reciprocal of I-ViT.
pub(super) const NUMERATOR: i64 = (1 << 31) - 1;

impl KernelConstants for Softmax {
    const KIND: &'static str = "softmax.i-vit";

    fn compute<A: Arithmetic>(&self, arithmetic: &A, input: &[i32], output: &mut [i32]) {
        let largest = i64::from(input.iter().copied().max().unwrap_or(0));
        let mut sum = 0;
        for (code, value) in input.iter().zip(output.iter_mut()) {
            let difference = arithmetic.sub(i64::from(*code), largest);
            let exponential = self.exponential.value(arithmetic, difference);
            let exponential = arithmetic.declared(exponential, 32);
            sum = arithmetic.add(sum, exponential);
            *value = saturate(arithmetic, exponential, 0, i32::MAX);
        }
        let sum = arithmetic.declared(sum, 32).min(NUMERATOR);
        if sum == 0 {
            return;
        }
        let factor = arithmetic.div_floor(NUMERATOR, sum);
        for value in output {
            let product = arithmetic.mul(i64::from(*value), factor);
            let product = arithmetic.declared(product, 33);
            let probability = arithmetic.shr(product, 32 - self.bits);
            *value = saturate(arithmetic, probability, 0, i32::MAX);
        }
    }

    fn bounds(&self, input: Interval, width: usize) -> Result<Interval, WidthError> {
        let differences = Interval::new(input.low - input.high, 0);
        differences.within(33, "difference to the maximum")?;
        self.exponential.bounds(differences)?;
        // ShiftExp falls from its value at 0, `-x0 2^n`.
        let largest = -i128::from(self.exponential.x0) << self.exponential.octaves;
        let values = i128::try_from(width).unwrap_or(i128::MAX >> 64);
        Interval::new(0, largest).within(32, "value of Shiftmax")?;
        Interval::new(0, values * largest).within(32, "sum of Shiftmax")?;
        Ok(Interval::new(0, i128::from(NUMERATOR) >> (32 - self.bits)))
    }

    fn invalid(&self) -> Option<&'static str> {
        if (2..=31).contains(&self.bits) {
            self.exponential.invalid()
        } else {
            Some("a softmax with bits out of range")
        }
    }
}
