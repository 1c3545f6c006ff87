//! Dyadic multipliers: a real factor as `multiplier / 2^shift`, applied with one integer product.

#![expect(
    clippy::inline_always,
    reason = "loops vectorise only when the arithmetic is inlined"
)]

use super::arithmetic::Arithmetic;
use serde::{Deserialize, Serialize};

/// How the quotient by a power of two is rounded; differs only on exact ties.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rounding {
    /// Ties to the even neighbour, as the published integer models do.
    HalfEven,
    /// Ties upwards: one addition and one shift.
    HalfUp,
}

/// `multiplier / 2^shift`.
///
/// The multiplier of a real factor has 31 bits and is negative for a negative factor; 2^31 itself
/// can occur. A negative shift multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dyadic {
    /// Numerator.
    pub multiplier: i64,
    /// Power of two in the denominator, -32 to 62; to 94 for [`Dyadic::apply_wide`].
    pub shift: i32,
}

impl Dyadic {
    /// The factor zero.
    pub const ZERO: Self = Self {
        multiplier: 0,
        shift: 1,
    };

    /// `q * multiplier / 2^shift`, rounded; 64-bit product.
    #[inline(always)]
    pub fn apply<A: Arithmetic>(self, arithmetic: &A, q: i64, rounding: Rounding) -> i64 {
        let product = arithmetic.mul(q, self.multiplier);
        divide(arithmetic, product, self.shift, rounding)
    }

    /// As [`Dyadic::apply`] with a 128-bit product, for values of more than 32 bits.
    pub fn apply_wide<A: Arithmetic>(self, arithmetic: &A, q: i64, rounding: Rounding) -> i64 {
        let product = arithmetic.mul_wide(q, self.multiplier);
        if self.shift <= 0 {
            return arithmetic.narrow(product << self.shift.unsigned_abs());
        }
        let shift = self.shift.unsigned_abs();
        let floor = product >> shift;
        let rest = product - (floor << shift);
        let half = 1_i128 << (shift - 1);
        let up = match rounding {
            Rounding::HalfUp => rest >= half,
            Rounding::HalfEven => rest > half || (rest == half && floor & 1 == 1),
        };
        arithmetic.narrow(floor + i128::from(up))
    }
}

/// `value / 2^shift`, rounded.
#[inline(always)]
pub fn divide<A: Arithmetic>(arithmetic: &A, value: i64, shift: i32, rounding: Rounding) -> i64 {
    if shift <= 0 {
        return arithmetic.shl(value, shift.unsigned_abs());
    }
    let shift = shift.unsigned_abs();
    match rounding {
        Rounding::HalfUp => {
            arithmetic.shr(arithmetic.add(value, arithmetic.shl(1, shift - 1)), shift)
        }
        Rounding::HalfEven => {
            let floor = arithmetic.shr(value, shift);
            let rest = arithmetic.sub(value, arithmetic.shl(floor, shift));
            let half = arithmetic.shl(1, shift - 1);
            let up = rest > half || (rest == half && floor & 1 == 1);
            arithmetic.add(floor, i64::from(up))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::integer::{Checked, Wrapping};

    #[test]
    fn ties_go_where_the_rounding_says() {
        // 5 / 2 = 2.5, 7 / 2 = 3.5, -5 / 2 = -2.5
        for (value, even, up) in [(5, 2, 3), (7, 4, 4), (-5, -2, -2), (-7, -4, -3), (6, 3, 3)] {
            assert_eq!(divide(&Wrapping, value, 1, Rounding::HalfEven), even);
            assert_eq!(divide(&Wrapping, value, 1, Rounding::HalfUp), up);
        }
    }

    #[test]
    fn wide_and_narrow_products_agree() {
        let factor = Dyadic {
            multiplier: -1_690_499_128,
            shift: 37,
        };
        for q in (-1_000_000..1_000_000).step_by(997) {
            for rounding in [Rounding::HalfEven, Rounding::HalfUp] {
                let checked = Checked::default();
                let narrow = factor.apply(&checked, q, rounding);
                assert_eq!(narrow, factor.apply_wide(&checked, q, rounding));
                assert_eq!(checked.outcome(), Ok(()));
            }
        }
    }

    #[test]
    fn a_negative_shift_multiplies() {
        let factor = Dyadic {
            multiplier: 3,
            shift: -2,
        };
        assert_eq!(factor.apply(&Wrapping, 5, Rounding::HalfUp), 60);
        assert_eq!(factor.apply_wide(&Wrapping, 5, Rounding::HalfEven), 60);
    }
}
