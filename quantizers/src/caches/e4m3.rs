//! Floats of 8 bits, E4M3 without infinities: what `fp8` caches hold.

use super::static_scale::ByteNumber;
use crate::formats::e4m3 as value_of;

/// The largest E4M3.
pub(super) const LARGEST: f32 = 448.0;

/// E4M3, saturating.
pub(super) static E4M3: ByteNumber = ByteNumber {
    largest: LARGEST,
    encode: nearest,
    decode: value_of,
};

/// The nearest E4M3, ties to even; beyond the largest the largest, as engines saturate. NaN stays NaN.
pub(super) fn nearest(value: f32) -> u8 {
    if value.is_nan() {
        return 0x7f;
    }
    let sign = if value.is_sign_negative() { 0x80 } else { 0 };
    let magnitude = value.abs().min(LARGEST);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "codes are at most 0x7e"
    )]
    let code = if magnitude < 1.0 / 64.0 {
        // Subnormals are multiples of 2^-9; eight of them are the smallest normal number, whose code is 8.
        (magnitude * 512.0).round_ties_even() as u8
    } else {
        // 23 bits of mantissa to 3, ties to even; exponents are off by 127 and by 7.
        let bits = magnitude.to_bits();
        (((bits + 0x7_ffff + (bits >> 20 & 1)) >> 20) - ((127 - 7) << 3)) as u8
    };
    sign | code
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "values of codes are exact")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_number_is_its_own_nearest() {
        for byte in (0..=u8::MAX).filter(|byte| byte & 0x7f != 0x7f) {
            assert_eq!(nearest(value_of(byte)), byte);
        }
        assert_eq!([nearest(1e9), nearest(f32::NEG_INFINITY)], [0x7e, 0xfe]);
        assert!(value_of(nearest(f32::NAN)).is_nan());
        // Half-way between 16 and 18, and between 18 and 20.
        assert_eq!([17.0, 19.0].map(|x| value_of(nearest(x))), [16.0, 20.0]);
    }

    proptest! {
        #[test]
        fn no_other_number_is_nearer(value in -500.0f32..500.0, scale in -14i32..1) {
            let value = value * (scale as f32).exp2();
            let found = (value_of(nearest(value)) - value).abs();
            for byte in (0..=u8::MAX).filter(|byte| byte & 0x7f != 0x7f) {
                prop_assert!(found <= (value_of(byte) - value).abs());
            }
        }
    }
}
