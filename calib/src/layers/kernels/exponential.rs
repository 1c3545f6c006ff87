//! Exponential, logistic and error function in loops the compiler can vectorise, and probabilities of a row of scores.
//!
//! The functions of the standard library are calls, which keeps any loop around them scalar.

use super::lanes;
use multiversion::multiversion;

/// Arguments above give the largest finite power of this routine instead of infinity.
const HIGHEST: f32 = 88.376_26;
/// Arguments below give the smallest normal power instead of zero.
const LOWEST: f32 = -87.336_54;
/// 1.5 · 2²³: adding it rounds to the nearest integer and leaves that in the low bits.
const ROUNDING: f32 = 12_582_912.0;
/// ln 2 in two parts; the product of the first with a small integer is exact.
const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
/// Minimax polynomial of `(e^r - 1 - r) / r²` on |r| <= ln 2 / 2 (Moshier, Cephes `expf`).
const EXPONENTIAL: [f32; 6] = [
    1.987_569_1e-4,
    1.398_2e-3,
    8.333_452e-3,
    4.166_579_6e-2,
    1.666_666_5e-1,
    0.5,
];

/// `e^x` to 2 units in the last place for x in [`LOWEST`, `HIGHEST`], clamped outside; NaN stays NaN.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    let x = if x > HIGHEST { HIGHEST } else { x };
    let x = if x < LOWEST { LOWEST } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUNDING;
    let power = shifted - ROUNDING;
    let rest = x - power * LN_2[0] - power * LN_2[1];
    let polynomial = horner(&EXPONENTIAL, rest);
    let two_to_power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0_f32.to_bits()));
    (polynomial * rest * rest + rest + 1.0) * two_to_power
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub fn logistic(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// Beyond, the error function is 1 in f32.
const ERF_ONE: f32 = 4.0;
/// Odd numerator and even denominator of a rational approximation of erf on [-4, 4] (Eigen, XLA).
const ERF_NUMERATOR: [f32; 7] = [
    -2.726_142_3e-10,
    2.770_681_4e-8,
    -2.101_024e-6,
    -5.692_506_4e-5,
    -7.349_906_3e-4,
    -2.954_6e-3,
    -1.609_603_3e-2,
];
const ERF_DENOMINATOR: [f32; 5] = [
    -1.456_607_2e-5,
    -2.133_740_6e-4,
    -1.682_827e-3,
    -7.373_329e-3,
    -1.426_473_9e-2,
];

/// Error function, absolute error below 4e-7; NaN stays NaN.
#[inline(always)]
pub fn erf(x: f32) -> f32 {
    let x = if x > ERF_ONE { ERF_ONE } else { x };
    let x = if x < -ERF_ONE { -ERF_ONE } else { x };
    let square = x * x;
    x * horner(&ERF_NUMERATOR, square) / horner(&ERF_DENOMINATOR, square)
}

/// The polynomial with `coefficients` from the highest power down.
#[inline(always)]
fn horner(coefficients: &[f32], x: f32) -> f32 {
    coefficients.iter().fold(0.0, |sum, c| sum * x + c)
}

/// Turns the scores `from..to` of a row into probabilities, the rest into zeros.
///
/// Returns `scale · max + ln Σ exp(scale · (score - max))`.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2"))]
pub(super) fn exponentials(row: &mut [f32], from: usize, to: usize, scale: f32) -> f32 {
    row[..from].fill(0.0);
    row[to..].fill(0.0);
    let seen = &mut row[from..to];
    let highest = lanes::highest(seen);
    for score in seen.iter_mut() {
        *score = exp((*score - highest) * scale);
    }
    let sum = lanes::sum(seen);
    let share = sum.recip();
    for probability in seen {
        *probability *= share;
    }
    highest * scale + sum.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponential_is_within_two_units_in_the_last_place() {
        for step in 0..200_000 {
            let x = -87.0 + step as f32 * (175.0 / 200_000.0);
            let exact = f64::from(x).exp();
            let error = (f64::from(exp(x)) - exact).abs() / exact;
            assert!(error < 2.0 * f64::from(f32::EPSILON), "{x}: {error:e}");
        }
        assert!((exp(0.0) - 1.0).abs() < f32::EPSILON);
    }

    #[test]
    fn far_arguments_stay_finite_and_nan_stays() {
        assert!(exp(f32::INFINITY).is_finite());
        assert!(exp(f32::NEG_INFINITY) < 1.2e-38);
        assert!(exp(f32::NAN).is_nan() && erf(f32::NAN).is_nan() && logistic(f32::NAN).is_nan());
    }

    /// Maclaurin series in f64, enough terms for |x| <= 4.
    fn series(x: f64) -> f64 {
        let (mut term, mut sum) = (x, x);
        for n in 1..120 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        sum * std::f64::consts::FRAC_2_SQRT_PI
    }

    #[test]
    fn error_function_matches_its_series() {
        for step in -4000..=4000 {
            let x = step as f32 / 1000.0;
            let error = (f64::from(erf(x)) - series(f64::from(x))).abs();
            assert!(error < 4e-7, "{x}: {error:e}");
        }
        assert!((erf(30.0) - 1.0).abs() < 4e-7);
    }
}
