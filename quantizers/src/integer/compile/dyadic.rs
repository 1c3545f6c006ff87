//! Real factors as dyadic numbers.

use crate::integer::Dyadic;

impl Dyadic {
    /// `factor` with a 31-bit multiplier: `factor = f 2^e`, 0.5 <= |f| < 1, `b = round(f 2^31)`
    /// (half away from zero), `c = 31 - e` (the rule of I-BERT's `batch_frexp`).
    ///
    /// Factors below 2^-31 become those of the largest shift, so nothing is lost but magnitude
    /// below one half of a unit for any 32-bit input.
    ///
    /// # Panics
    /// A factor that is not finite or at least 2^63.
    pub fn of(factor: f64) -> Self {
        Self::within(factor, 62)
    }

    /// As [`Dyadic::of`] for [`Dyadic::apply_wide`] alone, with shifts up to 94: values of 63 bits
    /// keep all bits of the multiplier.
    ///
    /// # Panics
    /// A factor that is not finite or at least 2^63.
    pub fn of_wide(factor: f64) -> Self {
        Self::within(factor, 94)
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "a fraction times 2^31 is in range"
    )]
    fn within(factor: f64, largest_shift: i32) -> Self {
        assert!(
            factor.is_finite() && factor.abs() < 2.0_f64.powi(63),
            "a factor of {factor} has no multiplier"
        );
        if factor == 0.0 {
            return Self::ZERO;
        }
        let (fraction, exponent) = split(factor);
        let multiplier = (fraction * 2.0_f64.powi(31)).round() as i64;
        let shift = 31 - exponent;
        if shift <= largest_shift {
            return Self { multiplier, shift };
        }
        // Too small for the shift: fewer bits of the multiplier.
        let lost = (shift - largest_shift).min(63);
        let half = 1_i64 << (lost - 1);
        Self {
            multiplier: (multiplier + half) >> lost,
            shift: largest_shift,
        }
    }

    /// The factor it stands for.
    pub fn value(self) -> f64 {
        self.multiplier as f64 * 2.0_f64.powi(-self.shift)
    }
}

/// `value = fraction 2^exponent` with `0.5 <= |fraction| < 1`; not for zero.
fn split(value: f64) -> (f64, i32) {
    // Subnormals have no leading one to read the exponent from.
    let (value, offset) = if value.abs() < f64::MIN_POSITIVE {
        (value * 2.0_f64.powi(64), 64)
    } else {
        (value, 0)
    };
    let bits = value.to_bits();
    let stored = i32::try_from((bits >> 52) & 0x7ff).unwrap_or(0);
    let fraction = f64::from_bits((bits & !(0x7ff << 52)) | (1022 << 52));
    (fraction, stored - 1022 - offset)
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "powers of two are exact")]
mod tests {
    use super::*;

    #[test]
    fn one_and_powers_of_two_are_exact() {
        let one = Dyadic::of(1.0);
        assert_eq!((one.multiplier, one.shift), (1 << 30, 30));
        assert_eq!(Dyadic::of(0.5).value(), 0.5);
        assert_eq!(Dyadic::of(-8.0).value(), -8.0);
        assert_eq!(Dyadic::of(2.0_f64.powi(40)).value(), 2.0_f64.powi(40));
    }

    #[test]
    fn factors_keep_thirty_bits() {
        for factor in [0.0123, 3.7e-9, -1.1e-4, 12.5, 1.999_999_999_9] {
            let error = (Dyadic::of(factor).value() / factor - 1.0).abs();
            assert!(error < 2.0_f64.powi(-30), "{factor} {error}");
        }
    }

    #[test]
    fn tiny_factors_lose_bits_and_do_not_overflow() {
        assert_eq!(Dyadic::of(1e-300).multiplier, 0);
        let tiny = Dyadic::of(2.0_f64.powi(-50));
        assert_eq!((tiny.multiplier, tiny.shift), (1 << 12, 62));
    }
}
