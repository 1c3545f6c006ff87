//! Softmax of integers of any width: polynomial exponentials and one rounded division a value.

#![expect(
    clippy::inline_always,
    reason = "loops vectorise only when the arithmetic is inlined"
)]

use super::Exponential;
use crate::integer::kernel::{KernelConstants, saturate};
use crate::integer::{Arithmetic, Interval, WidthError};
use serde::{Deserialize, Serialize};

/// `e_i = 2^30 e^(-(max - q_i) S)`, `p_i = floor((2 e_i (2^k - 1) + sum) / (2 sum))`.
///
/// `k` is 8 or 16: probabilities are `p / (2^k - 1)`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Softmax {
    /// `d -> 2^30 e^(-d S)`.
    pub exponential: Exponential,
    /// `2^k - 1`.
    pub most: i64,
}

impl KernelConstants for Softmax {
    const KIND: &'static str = "softmax.exact";

    fn compute<A: Arithmetic>(&self, arithmetic: &A, input: &[i32], output: &mut [i32]) {
        let highest = largest(input);
        let mut sum = 0;
        // Exponentials wait in the output row: they have 31 bits.
        for (kept, value) in output.iter_mut().zip(input) {
            let distance = arithmetic.declared(arithmetic.sub(highest, i64::from(*value)), 33);
            let exponential = self.exponential.compute(arithmetic, distance);
            *kept = saturate(arithmetic, exponential, 0, i32::MAX);
            sum = arithmetic.declared(arithmetic.add(sum, exponential), 62);
        }
        for code in output.iter_mut().take(input.len()) {
            *code = share(arithmetic, i64::from(*code), sum, self.most);
        }
    }

    fn bounds(&self, input: Interval, width: usize) -> Result<Interval, WidthError> {
        input.within(32, "scores")?;
        bounds(self.exponential.bounds()?, width, self.most)
    }

    fn invalid(&self) -> Option<&'static str> {
        if !(1..=65535).contains(&self.most) {
            return Some("a softmax with a largest code out of range");
        }
        self.exponential.invalid()
    }
}

/// The largest of a row.
pub(super) fn largest(row: &[i32]) -> i64 {
    row.iter().copied().max().map_or(0, i64::from)
}

/// `exponential / sum` in units of `1 / most`, rounded half up.
#[inline(always)]
pub(super) fn share<A: Arithmetic>(arithmetic: &A, exponential: i64, sum: i64, most: i64) -> i32 {
    let doubled = arithmetic.declared(arithmetic.mul(exponential, 2 * most), 49);
    let quotient = arithmetic.div_floor(arithmetic.add(doubled, sum), arithmetic.shl(sum, 1));
    saturate(arithmetic, quotient, 0, i32::MAX)
}

/// The interval of probabilities of rows of at most `width` exponentials.
pub(super) fn bounds(each: Interval, width: usize, most: i64) -> Result<Interval, WidthError> {
    let doubled = each.times(Interval::new(0, 2 * i128::from(most)));
    doubled.within(49, "doubled share")?;
    let sum = each.times(Interval::new(0, width as i128));
    sum.within(62, "sum of exponentials")?;
    Ok(Interval::new(0, most.into()))
}
