//! `e^(-x)` of a non-negative integer: base 2, a minimax polynomial of the fraction, a shift.

#![expect(
    clippy::inline_always,
    reason = "loops vectorise only when the arithmetic is inlined"
)]

use crate::integer::{Arithmetic, Dyadic, Interval, Rounding, WidthError, dyadic};
use serde::{Deserialize, Serialize};

/// Fraction bits of the position.
pub const POSITION_BITS: u32 = 24;
/// Fraction bits of the result.
pub const RESULT_BITS: u32 = 30;
/// Octaves after which the result is zero.
const OCTAVES: i64 = 31;

/// Minimax polynomial of degree 3 of `2^-f` on `[0, 1]`, 30 fraction bits, ascending; error 5.4e-5.
pub const DEGREE_3: [i64; 4] = [1_073_684_360, -742_356_558, 248_008_096, -42_522_450];
/// The same of degree 4; error 1.9e-6.
pub const DEGREE_4: [i64; 5] = [
    1_073_739_835,
    -744_159_319,
    257_105_067,
    -57_166_560,
    7_353_877,
];

/// `d -> 2^30 e^(-d S)` for the scale `S` it was compiled for.
///
/// `t = d b 2^24 / 2^c` rounded half up, with `b / 2^c = S log2 e`; `z = floor(t / 2^24)`,
/// `f = t mod 2^24`; Horner in 30 fraction bits, every step rounded half up; then `>> z`, rounded
/// half up. Zero from `z = 31` on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exponential {
    /// `S log2 e 2^24`, from a 31-bit multiplier.
    pub position: Dyadic,
    /// Distances from here on have the result zero.
    pub clip: i64,
    /// Polynomial, ascending, 30 fraction bits.
    pub coefficients: Vec<i64>,
}

impl Exponential {
    /// Smallest distance whose position has 31 octaves, at most 2^32.
    pub fn clip_of(position: Dyadic) -> i64 {
        let reach = i128::from(OCTAVES) << POSITION_BITS;
        let scaled = reach << position.shift.clamp(0, 62);
        let clip = scaled / i128::from(position.multiplier.max(1)) + 1;
        i64::try_from(clip.min(1 << 32)).unwrap_or(1 << 32)
    }

    /// `2^30 e^(-distance S)`; `distance >= 0`.
    #[inline(always)]
    pub fn compute<A: Arithmetic>(&self, arithmetic: &A, distance: i64) -> i64 {
        let distance = distance.min(self.clip);
        let position = self.position.apply(arithmetic, distance, Rounding::HalfUp);
        let octaves = arithmetic.shr(position, POSITION_BITS);
        let whole = arithmetic.shl(octaves, POSITION_BITS);
        let fraction = arithmetic.declared(arithmetic.sub(position, whole), POSITION_BITS + 1);
        let mut value = 0;
        for coefficient in self.coefficients.iter().rev() {
            let product = arithmetic.declared(arithmetic.mul(value, fraction), 56);
            let step = dyadic::divide(arithmetic, product, 24, Rounding::HalfUp);
            value = arithmetic.declared(arithmetic.add(step, *coefficient), 32);
        }
        scaled(arithmetic, value, octaves)
    }

    /// The interval of the result.
    ///
    /// # Errors
    /// A position of more than 64 bits.
    pub fn bounds(&self) -> Result<Interval, WidthError> {
        let half = 1_i128 << (self.position.shift.clamp(1, 62) - 1);
        Interval::new(0, self.clip.into())
            .times(Interval::new(0, self.position.multiplier.into()))
            .plus(Interval::new(0, half))
            .within(64, "position of an exponential")?;
        let mut value = Interval::new(0, 0);
        let fraction = Interval::new(0, 1 << POSITION_BITS);
        for coefficient in self.coefficients.iter().rev() {
            let product = value.times(fraction).within(56, "Horner product")?;
            let step = Interval::new(product.low >> 24, (product.high >> 24) + 1);
            let constant = i128::from(*coefficient);
            value = step.plus(Interval::new(constant, constant));
        }
        value.within(32, "value of an exponential")?;
        Ok(Interval::new(0, value.high.max(0)))
    }

    /// What is wrong with the constants.
    pub fn invalid(&self) -> Option<&'static str> {
        if !(1..=62).contains(&self.position.shift) || self.position.multiplier < 0 {
            Some("an exponential with a factor out of range")
        } else if !(0..=1 << 32).contains(&self.clip) {
            Some("an exponential clipped out of range")
        } else if self.coefficients.is_empty() {
            Some("an exponential without a polynomial")
        } else {
            None
        }
    }
}

/// `value / 2^octaves` rounded half up, zero from 31 octaves on.
#[inline(always)]
fn scaled<A: Arithmetic>(arithmetic: &A, value: i64, octaves: i64) -> i64 {
    let shift = u32::try_from(octaves.min(OCTAVES)).unwrap_or(0);
    let half = arithmetic.shr(arithmetic.shl(1, shift), 1);
    arithmetic.shr(arithmetic.add(value, half), shift)
}
