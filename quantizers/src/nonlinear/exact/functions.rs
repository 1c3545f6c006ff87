//! The real functions, in double precision: what tables hold and tests compare with.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, PI, SQRT_2};

/// Weight of the cube in the tanh form of GELU (Hendrycks and Gimpel 2016).
const CUBE: f64 = 0.044_715;

/// `1 - erf(x)`, relative error below 1e-13 for x below 20.
pub fn erfc(x: f64) -> f64 {
    if x < 0.0 {
        2.0 - erfc(-x)
    } else if x < 2.0 {
        1.0 - erf_series(x)
    } else {
        erfc_fraction(x)
    }
}

/// `erf(x) = 2 / sqrt(pi) e^(-x^2) sum 2^n x^(2n+1) / (2n+1)!!`: all terms of one sign.
fn erf_series(x: f64) -> f64 {
    let square = 2.0 * x * x;
    let (mut term, mut sum, mut odd) = (x, x, 1.0);
    while term.abs() > sum.abs() * 1e-18 {
        odd += 2.0;
        term *= square / odd;
        sum += term;
    }
    2.0 / PI.sqrt() * (-x * x).exp() * sum
}

/// Continued fraction of the tail: `e^(-x^2) / sqrt(pi) / (x + 1/2 / (x + 1 / (x + 3/2 / ...)))`.
fn erfc_fraction(x: f64) -> f64 {
    let fraction = (1..=120)
        .rev()
        .fold(x, |below, level| x + f64::from(level) / 2.0 / below);
    (-x * x).exp() / PI.sqrt() / fraction
}

/// The normal distribution function.
pub fn phi(x: f64) -> f64 {
    0.5 * erfc(-x * FRAC_1_SQRT_2)
}

/// `x Phi(x)`.
pub fn gelu(x: f64) -> f64 {
    x * phi(x)
}

/// `x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))`, Hendrycks and Gimpel 2016.
pub fn gelu_tanh(x: f64) -> f64 {
    // (1 + tanh(y)) / 2 = 1 / (1 + e^(-2y)): no cancellation for negative y.
    x / (1.0 + gelu_tanh_exponent(-x).exp())
}

/// `2 sqrt(2 / pi) (x + 0.044715 x^3)`, an odd function.
pub(super) fn gelu_tanh_exponent(x: f64) -> f64 {
    SQRT_2 * FRAC_2_SQRT_PI * (x + CUBE * x * x * x)
}

/// `max(x, 0)`.
pub fn relu(x: f64) -> f64 {
    x.max(0.0)
}

/// `x / (1 + e^-x)`.
pub fn silu(x: f64) -> f64 {
    x / (1.0 + (-x).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_function_agrees_with_tabulated_values() {
        // Abramowitz and Stegun, table 7.1 and 7.3.
        let table = [
            (0.0, 1.0),
            (0.5, 0.479_500_122_186_953_5),
            (1.0, 0.157_299_207_050_285_13),
            (2.0, 4.677_734_981_047_266e-3),
            (3.0, 2.209_049_699_858_544e-5),
            (5.0, 1.537_459_794_428_035e-12),
        ];
        for (x, expected) in table {
            let error = (erfc(x) / expected - 1.0).abs();
            assert!(error < 1e-13, "{x}: {error}");
            assert!((erfc(-x) + erfc(x) - 2.0).abs() < 1e-15);
        }
    }

    #[test]
    fn the_tanh_form_is_as_it_is_written() {
        for x in [-8.0, -1.0, -0.25, 0.0, 0.75, 3.0] {
            let written =
                0.5 * x * (1.0 + ((2.0 / PI).sqrt() * (x + 0.044_715 * x * x * x)).tanh());
            assert!((gelu_tanh(x) - written).abs() < 1e-14, "{x}");
            assert!((gelu_tanh(x) - gelu(x)).abs() < 1e-3, "{x}");
        }
    }

    #[test]
    fn series_and_fraction_meet() {
        let (series, fraction) = (1.0 - erf_series(2.0), erfc_fraction(2.0));
        assert!((series / fraction - 1.0).abs() < 1e-12);
    }
}
