//! Intervals of integer values, propagated through a program to prove declared widths.

use thiserror::Error;

/// All values from `low` to `high`, both included. 128 bits wide, so that propagation itself
/// cannot overflow where 64-bit values are multiplied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    /// Smallest value.
    pub low: i128,
    /// Largest value.
    pub high: i128,
}

/// A value that would not fit where it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{what}: values from {low} to {high} need {found} bits, expected at most {expected}")]
pub struct WidthError {
    /// The intermediate.
    pub what: String,
    /// Smallest value.
    pub low: i128,
    /// Largest value.
    pub high: i128,
    /// Bits needed, sign included.
    pub found: u32,
    /// Bits there are.
    pub expected: u32,
}

impl Interval {
    /// From `low` to `high`, in either order.
    pub fn new(low: i128, high: i128) -> Self {
        Self {
            low: low.min(high),
            high: low.max(high),
        }
    }

    /// The values of a code of `bits` bits.
    pub fn of_bits(bits: u32, signed: bool) -> Self {
        if signed {
            let half = 1_i128 << (bits - 1);
            Self::new(-half, half - 1)
        } else {
            Self::new(0, (1_i128 << bits) - 1)
        }
    }

    /// `[-magnitude, magnitude]`.
    pub fn symmetric(magnitude: i128) -> Self {
        Self::new(-magnitude, magnitude)
    }

    /// Sums of one value of each.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self::new(self.low + other.low, self.high + other.high)
    }

    /// Products of one value of each.
    #[must_use]
    pub fn times(self, other: Self) -> Self {
        let products = [
            self.low * other.low,
            self.low * other.high,
            self.high * other.low,
            self.high * other.high,
        ];
        let low = products.iter().copied().min().unwrap_or(0);
        let high = products.iter().copied().max().unwrap_or(0);
        Self::new(low, high)
    }

    /// Squares.
    #[must_use]
    pub fn squared(self) -> Self {
        let largest = self.magnitude().pow(2);
        let holds_zero = self.low <= 0 && self.high >= 0;
        let smallest = if holds_zero {
            0
        } else {
            self.low.abs().min(self.high.abs()).pow(2)
        };
        Self::new(smallest, largest)
    }

    /// Values of both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self::new(self.low.min(other.low), self.high.max(other.high))
    }

    /// Values after clamping.
    #[must_use]
    pub fn clamped(self, low: i128, high: i128) -> Self {
        Self::new(self.low.clamp(low, high), self.high.clamp(low, high))
    }

    /// Largest distance from zero.
    pub fn magnitude(self) -> i128 {
        self.low.abs().max(self.high.abs())
    }

    /// Bits of the narrowest signed type that holds every value.
    pub fn signed_bits(self) -> u32 {
        let bits = |value: i128| 129 - if value < 0 { !value } else { value }.leading_zeros();
        bits(self.low).max(bits(self.high))
    }

    /// The interval, if `bits` bits with sign hold it.
    ///
    /// # Errors
    /// A value that needs more; `what` names it.
    pub fn within(self, bits: u32, what: &str) -> Result<Self, WidthError> {
        let found = self.signed_bits();
        if found <= bits {
            return Ok(self);
        }
        Err(WidthError {
            what: what.to_owned(),
            low: self.low,
            high: self.high,
            found,
            expected: bits,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_and_squares_take_the_extremes() {
        let a = Interval::new(-3, 2);
        assert_eq!(a.times(Interval::new(-5, 4)), Interval::new(-12, 15));
        assert_eq!(a.squared(), Interval::new(0, 9));
        assert_eq!(Interval::new(-4, -2).squared(), Interval::new(4, 16));
    }

    #[test]
    fn widths_count_the_sign() {
        assert_eq!(Interval::of_bits(8, true).signed_bits(), 8);
        assert_eq!(Interval::of_bits(8, false).signed_bits(), 9);
        let error = Interval::new(0, 128).within(8, "sum").unwrap_err();
        assert_eq!(
            error.to_string(),
            "sum: values from 0 to 128 need 9 bits, expected at most 8"
        );
    }
}
