//! The float functions, in f64.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, PI};

/// `x Phi(x)`.
pub fn gelu(x: f64) -> f64 {
    x * 0.5 * erfc(-x * FRAC_1_SQRT_2)
}

/// `x sigmoid(x)`.
pub fn silu(x: f64) -> f64 {
    x / (1.0 + (-x).exp())
}

/// The complementary error function, to about 1e-15 relative: its series below 2.5, the continued
/// fraction (Lentz) above.
pub fn erfc(x: f64) -> f64 {
    if x < 0.0 {
        return 2.0 - erfc(-x);
    }
    if x < 2.5 {
        let (mut term, mut sum, mut n) = (x, x, 0.0);
        while term.abs() > 1e-17 * sum.abs() {
            n += 1.0;
            term *= -x * x / n;
            sum += term / (2.0 * n + 1.0);
        }
        return 1.0 - FRAC_2_SQRT_PI * sum;
    }
    // erfc(x) = exp(-x^2) / (x sqrt(pi)) / (1 + 1/(2x^2)/(1 + 2/(2x^2)/(1 + ...))).
    let mut fraction = 1.0;
    for n in (1..=60).rev() {
        fraction = 1.0 + f64::from(n) / (2.0 * x * x) / fraction;
    }
    (-x * x).exp() / (x * PI.sqrt() * fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Values of erfc to 16 digits.
    #[test]
    fn erfc_agrees_with_tabulated_values() {
        let table = [
            (0.0, 1.0),
            (0.5, 0.479_500_122_186_953_5),
            (1.0, 0.157_299_207_050_285_13),
            (2.0, 0.004_677_734_981_047_266),
            (3.0, 2.209_049_699_858_544e-5),
            (5.0, 1.537_459_794_428_035e-12),
            (-1.0, 1.842_700_792_949_715),
        ];
        for (x, expected) in table {
            let error = (erfc(x) / expected - 1.0).abs();
            assert!(error < 1e-13, "erfc({x}): {error}");
        }
    }

    #[test]
    fn gelu_and_silu_by_hand() {
        assert!((gelu(1.0) - 0.841_344_746_068_542_9).abs() < 1e-14);
        assert!((silu(1.0) - 0.731_058_578_630_004_9).abs() < 1e-15);
    }
}
