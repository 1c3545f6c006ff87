//! The weight of a key by its distance from the largest score, in steps that fit 16-bit lanes.

#![expect(
    clippy::inline_always,
    reason = "loops vectorise only when the arithmetic is inlined"
)]

use crate::integer::{Arithmetic, Interval, WidthError};
use serde::{Deserialize, Serialize};

/// Fraction bits of a position.
pub const POSITION_BITS: u32 = 26;
/// Bits of an index into the tables.
const INDEX_BITS: u32 = 5;
/// `2^16 ln 2`: the first order of `2^21 (1 - 2^(-u / 2^21))` in `u / 2^16`.
pub(super) const FIRST: u16 = 45_426;
/// The second order, `2^10 (ln 2)^2`.
pub(super) const SECOND: u16 = 492;
/// Added before a fall loses 5 bits: below one half, so that no table entry lies above the end of
/// the piece before it.
pub(super) const FALL_ROUNDING: u16 = 12;

/// `round(65534 2^(-i / 32))`: weights of 15 bits with one more.
pub static WIDE: [u16; 32] = [
    65_534, 64_130, 62_756, 61_411, 60_095, 58_807, 57_547, 56_314, 55_107, 53_926, 52_771, 51_640,
    50_534, 49_451, 48_391, 47_354, 46_340, 45_347, 44_375, 43_424, 42_494, 41_583, 40_692, 39_820,
    38_967, 38_132, 37_315, 36_515, 35_733, 34_967, 34_218, 33_485,
];
/// `round(65280 2^(-i / 32))`: weights of 8 bits with eight more.
pub static NARROW: [u16; 32] = [
    65_280, 63_881, 62_512, 61_173, 59_862, 58_579, 57_324, 56_096, 54_894, 53_717, 52_566, 51_440,
    50_338, 49_259, 48_204, 47_171, 46_160, 45_171, 44_203, 43_256, 42_329, 41_422, 40_534, 39_666,
    38_816, 37_984, 37_170, 36_374, 35_594, 34_831, 34_085, 33_355,
];

/// `d -> round((2^b - 1) e^(-d S))` for the scale `S` it was compiled for.
///
/// With `d` clipped: `t = ((d << s) m) >> 32`, the position in octaves with 26 fraction bits;
/// `z = t >> 26`; `i` the 5 bits after, `u` the 15 after those, times 2; then, all products of 16 by
/// 16 bits,
///
/// `v = (u (45426 - ((492 u) >> 16))) >> 16`, which is `2^21 (1 - 2^(-u / 2^21))`,
/// `y = T_i - ((((T_i v) >> 16) + 12) >> 5)`, `p = ((y >> z) + 2^(15-b)) >> (16 - b)`
///
/// for `T_i = round((2^b - 1) 2^(16-b) 2^(-i/32))`. Never grows with `d`: positions come in steps of
/// two `u`, over which `v` cannot fall. A distance of zero has the full weight. The largest error
/// over all positions is in the tests: 1.1 units of a 15-bit weight, 0.505 of one of 8 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decay {
    /// Distances from here on have the weight zero, in 32 bits.
    pub clip: u32,
    /// `s`, to fill 32 bits.
    pub shift: u32,
    /// `m`, `S log2 e 2^(58 - s)`.
    pub multiplier: u32,
}

impl Decay {
    /// The table of weights of `bits`, 8 or 15.
    #[inline(always)]
    pub(super) fn table(bits: u32) -> &'static [u16; 32] {
        if bits == 8 { &NARROW } else { &WIDE }
    }

    /// The weight of `bits`, 8 or 15, of `distance >= 0`.
    #[inline(always)]
    pub fn weight<A: Arithmetic>(&self, arithmetic: &A, bits: u32, distance: i64) -> i64 {
        let distance = arithmetic.shl(distance.min(self.clip.into()), self.shift);
        let distance = arithmetic.declared(distance, 33);
        let product = arithmetic.mul(distance, self.multiplier.into());
        let position = arithmetic.declared(arithmetic.shr(product, 32), 32);
        at(arithmetic, bits, position)
    }

    /// Checks the width of a position.
    ///
    /// # Errors
    /// A position of 32 octaves or more.
    pub fn bounds(&self) -> Result<(), WidthError> {
        let most = i128::from(self.clip) << self.shift.min(31);
        Interval::new(0, most).within(33, "shifted distance")?;
        Interval::new(0, most * i128::from(self.multiplier)).within(64, "position of a weight")?;
        Ok(())
    }

    /// What is wrong with the constants.
    pub fn invalid(&self) -> Option<&'static str> {
        let position = (u64::from(self.clip) << self.shift.min(31)) >> 32;
        if self.shift > 31 || position != 0 {
            Some("attention weights clipped out of range")
        } else {
            None
        }
    }
}

/// The weight at a position below 32 octaves.
#[inline(always)]
pub fn at<A: Arithmetic>(arithmetic: &A, bits: u32, position: i64) -> i64 {
    let rest = POSITION_BITS - INDEX_BITS;
    let octaves = arithmetic.shr(position, POSITION_BITS);
    let index = arithmetic.shr(position, rest) & 31;
    let within = arithmetic.shr(position, rest - 16) & 0xfffe;
    let entry = i64::from(Decay::table(bits)[usize::try_from(index).unwrap_or(0)]);
    let high = |a: i64, b: i64| {
        let product = arithmetic.declared(arithmetic.mul(a, b), 33);
        arithmetic.shr(product, 16)
    };
    let slope = arithmetic.sub(FIRST.into(), high(within, SECOND.into()));
    let fall = high(entry, high(within, slope));
    let fall = arithmetic.shr(arithmetic.add(fall, FALL_ROUNDING.into()), 5);
    let value = arithmetic.declared(arithmetic.sub(entry, fall), 17);
    let octaves = u32::try_from(octaves).unwrap_or(0) & 31;
    let scaled = arithmetic.shr(value, octaves);
    arithmetic.shr(arithmetic.add(scaled, 1 << (15 - bits)), 16 - bits)
}
