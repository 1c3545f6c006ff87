//! The last step of a published operation: a dyadic factor per channel, half to even, and clamping.

#![expect(
    clippy::inline_always,
    reason = "loops vectorise only when the arithmetic is inlined"
)]

use crate::integer::kernel::saturate;
use crate::integer::{Arithmetic, Dyadic, Interval, Rounding, WidthError};
use serde::{Deserialize, Serialize};

/// `code = clamp(round(q multipliers[c] / 2^shifts[c]) + offsets[c], low, high)`, ties to even.
///
/// Widths, sign included: `q` 64; the product 64, or 128 where `wide`; the rounded quotient 63.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvenRequantization {
    /// Numerators: one, or one per channel.
    pub multipliers: Vec<i64>,
    /// Powers of two in the denominators, as many.
    pub shifts: Vec<i32>,
    /// Added to the rounded quotient, as many: the zero point, or the code of a constant channel.
    pub offsets: Vec<i32>,
    /// Whether products need more than 64 bits.
    pub wide: bool,
    /// Smallest code.
    pub low: i32,
    /// Largest code.
    pub high: i32,
}

impl EvenRequantization {
    /// The code of `value` in `channel`.
    #[inline(always)]
    pub fn code<A: Arithmetic>(&self, arithmetic: &A, value: i64, channel: usize) -> i32 {
        let channel = self.index(channel);
        let factor = self.factor(channel);
        let rounded = if self.wide {
            factor.apply_wide(arithmetic, value, Rounding::HalfEven)
        } else {
            factor.apply(arithmetic, value, Rounding::HalfEven)
        };
        let rounded = arithmetic.declared(rounded, 63);
        let code = arithmetic.add(rounded, i64::from(self.offsets[channel]));
        saturate(arithmetic, code, self.low, self.high)
    }

    /// The interval of the codes for values of `channel` in `values`.
    ///
    /// # Errors
    /// A product or quotient wider than declared.
    pub fn bounds(&self, values: Interval, channel: usize) -> Result<Interval, WidthError> {
        let channel = self.index(channel);
        let factor = self.factor(channel);
        values.within(64, "value to requantize")?;
        let multiplier = i128::from(factor.multiplier);
        let product = values
            .times(Interval::new(multiplier, multiplier))
            .within(if self.wide { 127 } else { 64 }, "requantization product")?;
        let quotient = if factor.shift > 0 {
            Interval::new(
                product.low >> factor.shift,
                (product.high >> factor.shift) + 1,
            )
        } else {
            product
                .within(63, "requantization product")?
                .times(Interval::new(1, 1 << factor.shift.unsigned_abs()))
        };
        let offset = i128::from(self.offsets[channel]);
        Ok(quotient
            .within(63, "requantized value")?
            .plus(Interval::new(offset, offset))
            .clamped(self.low.into(), self.high.into()))
    }

    /// Channels, or 1 where all share one factor.
    pub fn channels(&self) -> usize {
        self.multipliers.len()
    }

    /// What is wrong with the stored constants, for rows of `channels`.
    pub(super) fn invalid(&self, channels: usize) -> Option<&'static str> {
        let count = self.multipliers.len();
        let most = if self.wide { 94 } else { 62 };
        if count != channels && count != 1
            || self.shifts.len() != count
            || self.offsets.len() != count
        {
            Some("a requantization with another number of channels")
        } else if self
            .shifts
            .iter()
            .any(|shift| !(-32..=most).contains(shift))
        {
            Some("a requantization with a shift out of range")
        } else if self.low > self.high {
            Some("a requantization with an empty grid")
        } else {
            None
        }
    }

    #[inline(always)]
    fn index(&self, channel: usize) -> usize {
        if self.multipliers.len() == 1 {
            0
        } else {
            channel
        }
    }

    #[inline(always)]
    fn factor(&self, channel: usize) -> Dyadic {
        Dyadic {
            multiplier: self.multipliers[channel],
            shift: self.shifts[channel],
        }
    }
}
