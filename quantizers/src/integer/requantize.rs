//! From accumulators to codes: one dyadic factor per channel, a zero point, saturation.

use super::arithmetic::Arithmetic;
use super::buffer::Element;
use super::dyadic::{Dyadic, Rounding, divide};
use super::interval::{Interval, WidthError};
use serde::{Deserialize, Serialize};

/// `clamp(round(q * multiplier[c] / 2^shift[c]) + zero_point)`, ties upwards.
///
/// Widths: `q` 32 bits, multipliers 31 bits with sign, product 63 bits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requantization {
    /// Numerator of each channel, or one for all.
    pub multipliers: Vec<i32>,
    /// Power of two in the denominator, 1 to 62.
    pub shifts: Vec<u8>,
    /// Added after rounding.
    pub zero_point: i32,
    /// Smallest code.
    pub low: i32,
    /// Largest code.
    pub high: i32,
}

impl Requantization {
    /// The factor of channel `channel`.
    #[inline]
    pub fn factor(&self, channel: usize) -> Dyadic {
        let at = if self.multipliers.len() == 1 {
            0
        } else {
            channel
        };
        Dyadic {
            multiplier: i64::from(self.multipliers[at]),
            shift: i32::from(self.shifts[at]),
        }
    }

    /// The code of one value.
    #[inline]
    pub fn apply<A: Arithmetic>(&self, arithmetic: &A, value: i64, channel: usize) -> i32 {
        self.apply_with(arithmetic, value, 0, channel)
    }

    /// As [`Requantization::apply`] with `added` joining before saturation.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "clamped to 32-bit bounds")]
    pub fn apply_with<A: Arithmetic>(
        &self,
        arithmetic: &A,
        value: i64,
        added: i64,
        channel: usize,
    ) -> i32 {
        let factor = self.factor(channel);
        let product = arithmetic.mul(arithmetic.declared(value, 32), factor.multiplier);
        let rounded = divide(arithmetic, product, factor.shift, Rounding::HalfUp);
        let shifted = arithmetic.add(arithmetic.add(rounded, i64::from(self.zero_point)), added);
        shifted.clamp(i64::from(self.low), i64::from(self.high)) as i32
    }

    /// The codes that values in `input` can get, before saturation.
    ///
    /// # Errors
    /// A value of more than 32 bits, or a product of more than 64.
    pub fn unclamped(&self, input: Interval, channel: usize) -> Result<Interval, WidthError> {
        input.within(32, "accumulator")?;
        let factor = self.factor(channel);
        let multiplier = i128::from(factor.multiplier);
        let product = input.times(Interval::new(multiplier, multiplier));
        let half = 1_i128 << (factor.shift - 1);
        let rounded = product
            .plus(Interval::new(half, half))
            .within(64, "product")?;
        Ok(Interval::new(
            (rounded.low >> factor.shift) + i128::from(self.zero_point),
            (rounded.high >> factor.shift) + i128::from(self.zero_point),
        ))
    }

    /// The codes after saturation, for any channel.
    pub fn codes(&self) -> Interval {
        Interval::new(i128::from(self.low), i128::from(self.high))
    }

    /// Type that holds the codes.
    pub fn element(&self) -> Element {
        Element::of(self.low, self.high)
    }

    /// Whether the lengths and ranges are what the operations rely on, for `channels` channels.
    pub fn is_valid(&self, channels: usize) -> bool {
        let lengths = self.multipliers.len();
        lengths == self.shifts.len()
            && (lengths == 1 || lengths == channels)
            && self.low <= self.high
            && self.shifts.iter().all(|shift| (1..=62).contains(shift))
    }
}
