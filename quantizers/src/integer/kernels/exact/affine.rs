//! The last step of a normalisation: a factor and an offset per channel, and one rounding.

#![expect(
    clippy::inline_always,
    reason = "loops vectorise only when the arithmetic is inlined"
)]

use crate::integer::kernel::saturate;
use crate::integer::{Arithmetic, Interval, WidthError};
use multiversion::multiversion;
use serde::{Deserialize, Serialize};

/// `code = clamp(floor((y multipliers[c] + offsets[c]) / 2^shift))` for normalised values `y` of 16
/// fraction bits.
///
/// `multipliers[c] / 2^shift = gamma[c] 2^-16 / S_out`. The offset holds `beta[c] / S_out`, the zero
/// point of the output and one half, so that this is the only rounding. All channels share the
/// shift, since they share the output grid: the largest factor has 31 bits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Affine {
    /// Factor per channel.
    pub multipliers: Vec<i32>,
    /// Offset per channel.
    pub offsets: Vec<i64>,
    /// Common shift, 1 to 62.
    pub shift: u32,
    /// Smallest code.
    pub low: i32,
    /// Largest code.
    pub high: i32,
}

impl Affine {
    /// The code of `value` in `channel`.
    #[inline(always)]
    pub fn code<A: Arithmetic>(&self, arithmetic: &A, value: i64, channel: usize) -> i32 {
        let product = arithmetic.mul(value, i64::from(self.multipliers[channel]));
        let sum = arithmetic.declared(arithmetic.add(product, self.offsets[channel]), 63);
        let code = arithmetic.shr(sum, self.shift);
        saturate(arithmetic, code, self.low, self.high)
    }

    /// The codes of a row, for a grid within 0 to 255.
    ///
    /// # Panics
    /// When the row is not as long as the channels.
    pub fn bytes(&self, values: &[i32], out: &mut [u8]) {
        self.check(values.len(), out.len());
        bytes(self, values, out);
    }

    /// The codes of a row, for a grid within 16 bits with sign.
    ///
    /// # Panics
    /// When the row is not as long as the channels.
    pub fn words(&self, values: &[i32], out: &mut [i16]) {
        self.check(values.len(), out.len());
        words(self, values, out);
    }

    fn check(&self, values: usize, out: usize) {
        let channels = self.multipliers.len();
        assert_eq!((channels, channels), (values, out), "channels of a row");
    }

    /// The interval of the codes for values in `values`.
    ///
    /// # Errors
    /// A sum of more than 63 bits.
    pub fn bounds(&self, values: Interval) -> Result<Interval, WidthError> {
        for (multiplier, offset) in self.multipliers.iter().zip(&self.offsets) {
            let factor = i128::from(*multiplier);
            let offset = i128::from(*offset);
            values
                .times(Interval::new(factor, factor))
                .plus(Interval::new(offset.min(0), offset.max(0)))
                .within(63, "scaled value of a normalisation")?;
        }
        Ok(Interval::new(self.low.into(), self.high.into()))
    }

    /// What is wrong with the constants, for rows of `width`.
    pub fn invalid(&self, width: usize) -> Option<&'static str> {
        if self.multipliers.len() != width || self.offsets.len() != width {
            Some("a normalisation without a factor and an offset per channel")
        } else if !(1..=62).contains(&self.shift) || self.low > self.high {
            Some("a normalisation with a shift or grid out of range")
        } else {
            None
        }
    }
}

/// The formula of [`Affine::code`] on vectors of 64-bit lanes.
macro_rules! codes {
    ($name:ident, $code:ty $(, $lint:path)?) => {
        #[multiversion(targets("x86_64+avx512f+avx512dq+avx512bw+avx512vl", "x86_64+avx2"))]
        #[expect(
            clippy::cast_possible_truncation,
            $($lint,)?
            reason = "clamped to a grid of the type"
        )]
        fn $name(affine: &Affine, values: &[i32], out: &mut [$code]) {
            let low = i64::from(affine.low).max(i64::from(<$code>::MIN));
            let high = i64::from(affine.high).min(i64::from(<$code>::MAX));
            let shift = affine.shift & 63;
            let factors = affine.multipliers.iter().zip(&affine.offsets);
            for ((code, value), (factor, offset)) in out.iter_mut().zip(values).zip(factors) {
                let product = i64::from(*value) * i64::from(*factor);
                let sum = product.wrapping_add(*offset) >> shift;
                *code = sum.max(low).min(high) as $code;
            }
        }
    };
}

codes!(bytes, u8, clippy::cast_sign_loss);
codes!(words, i16);
