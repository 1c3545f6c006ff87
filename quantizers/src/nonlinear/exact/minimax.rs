//! Minimax polynomials by Remez exchange, and the fixed ones that programs are built with.

/// GELU: `g(u) = u Phi(-u)` on `[0, 6]` in 16 segments of degree 3, 24 fraction bits, ascending in
/// the fraction of the segment. Largest error 9.4e-6; beyond 6, `g` is below 6e-9.
pub const GELU_16: [[i64; 4]; 16] = [
    [-158, 3_150_847, -967_210, 42_470],
    [2_226_038, 1_351_184, -828_632, 102_973],
    [2_851_670, 3_815, -506_290, 110_070],
    [2_459_318, -682_796, -169_304, 74_132],
    [1_681_339, -804_602, 51_661, 27_870],
    [956_227, -621_534, 130_072, -3_266],
    [461_464, -372_605, 115_987, -14_039],
    [190_793, -182_604, 72_084, -12_339],
    [67_933, -74_843, 35_012, -7_213],
    [20_893, -25_964, 13_861, -3_233],
    [5_560, -7_677, 4_566, -1_169],
    [1_282, -1_944, 1_266, -349],
    [256, -423, 298, -87],
    [44, -79, 60, -18],
    [7, -13, 10, -3],
    [1, -2, 2, -1],
];

/// End of the last segment of [`GELU_16`].
pub const GELU_REACH: f64 = 6.0;

/// Points the error is looked at.
const MESH: usize = 2_000;
/// Exchanges, of which a handful are needed.
const EXCHANGES: usize = 40;

/// A polynomial and its largest error.
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    /// Coefficients, ascending.
    pub coefficients: Vec<f64>,
    /// Largest error on the interval.
    pub error: f64,
}

impl Fit {
    /// Value at `x`.
    pub fn value(&self, x: f64) -> f64 {
        horner(&self.coefficients, x)
    }
}

/// The polynomial of `terms` terms nearest to `function` on `[0, 1]` in the largest error.
///
/// Remez: a polynomial whose errors at `terms + 1` points are equal and alternate in sign, then the
/// points move to the extremes of its error, until those are equal to a part in a million.
pub fn fit(function: impl Fn(f64) -> f64, terms: usize) -> Fit {
    let mut points: Vec<f64> = (0..=terms)
        .map(|i| 0.5 - 0.5 * (std::f64::consts::PI * i as f64 / terms as f64).cos())
        .collect();
    let mut best = Fit {
        coefficients: vec![0.0; terms],
        error: f64::INFINITY,
    };
    for _ in 0..EXCHANGES {
        let Some(mut solution) = equioscillating(&function, &points) else {
            break;
        };
        let levelled = solution.pop().unwrap_or(0.0).abs();
        let errors: Vec<(f64, f64)> = (0..=MESH)
            .map(|i| i as f64 / MESH as f64)
            .map(|x| (x, horner(&solution, x) - function(x)))
            .collect();
        let error = errors.iter().map(|(_, e)| e.abs()).fold(0.0, f64::max);
        if error < best.error {
            best = Fit {
                coefficients: solution,
                error,
            };
        }
        let extremes = alternating(&errors, terms + 1);
        if error <= levelled * (1.0 + 1e-6) || extremes.len() < terms + 1 {
            break;
        }
        points = extremes;
    }
    best
}

fn horner(coefficients: &[f64], x: f64) -> f64 {
    coefficients.iter().rev().fold(0.0, |sum, c| sum * x + c)
}

/// Coefficients and the level of the error that alternates at the points.
fn equioscillating(function: impl Fn(f64) -> f64, points: &[f64]) -> Option<Vec<f64>> {
    let terms = points.len() - 1;
    let mut system: Vec<Vec<f64>> = points
        .iter()
        .enumerate()
        .map(|(row, &x)| {
            let mut equation: Vec<f64> = (0..terms)
                .map(|k| x.powi(i32::try_from(k).unwrap_or(0)))
                .collect();
            equation.push(if row % 2 == 0 { 1.0 } else { -1.0 });
            equation.push(function(x));
            equation
        })
        .collect();
    solve(&mut system)
}

/// Gauss with pivots on `[A | b]`.
fn solve(system: &mut [Vec<f64>]) -> Option<Vec<f64>> {
    let size = system.len();
    for column in 0..size {
        let pivot = (column..size).max_by(|a, b| {
            system[*a][column]
                .abs()
                .total_cmp(&system[*b][column].abs())
        })?;
        system.swap(column, pivot);
        if system[column][column] == 0.0 {
            return None;
        }
        let leading = system[column].clone();
        for (row, equation) in system.iter_mut().enumerate() {
            if row == column {
                continue;
            }
            let factor = equation[column] / leading[column];
            for (value, lead) in equation.iter_mut().zip(&leading).skip(column) {
                *value -= factor * lead;
            }
        }
    }
    Some((0..size).map(|i| system[i][size] / system[i][i]).collect())
}

/// Positions of the largest errors of runs of one sign, the `count` in a row that hold the largest.
fn alternating(errors: &[(f64, f64)], count: usize) -> Vec<f64> {
    let mut extremes: Vec<(f64, f64)> = Vec::new();
    for &(x, error) in errors {
        match extremes.last_mut() {
            Some(last) if last.1.signum() * error.signum() > 0.0 => {
                if error.abs() > last.1.abs() {
                    *last = (x, error);
                }
            }
            _ => extremes.push((x, error)),
        }
    }
    while extremes.len() > count {
        let smaller = |a: (f64, f64), b: (f64, f64)| a.1.abs() < b.1.abs();
        if smaller(extremes[0], extremes[extremes.len() - 1]) {
            extremes.remove(0);
        } else {
            extremes.pop();
        }
    }
    extremes.into_iter().map(|(x, _)| x).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::integer::kernels::exact::exponential::{DEGREE_3, DEGREE_4};
    use crate::nonlinear::exact::functions::phi;

    #[expect(clippy::cast_possible_truncation, reason = "coefficients below 2^31")]
    fn quantized(fit: &Fit, bits: i32) -> Vec<i64> {
        let unit = 2.0_f64.powi(bits);
        let round = |c: &f64| (c * unit).round() as i64;
        fit.coefficients.iter().map(round).collect()
    }

    #[test]
    fn the_fixed_exponentials_are_minimax() {
        for (fixed, error) in [(&DEGREE_3[..], 5.351_7e-5), (&DEGREE_4[..], 1.852_2e-6)] {
            let found = fit(|x| (-x).exp2(), fixed.len());
            assert!((found.error / error - 1.0).abs() < 1e-3, "{}", found.error);
            for (a, b) in quantized(&found, 30).iter().zip(fixed) {
                assert!((a - b).abs() < 1 << 9, "{a} {b}");
            }
        }
    }

    #[test]
    fn the_fixed_segments_of_gelu_are_minimax() {
        let mut largest = 0.0_f64;
        for (segment, fixed) in GELU_16.iter().enumerate() {
            let at = |x: f64| (segment as f64 + x) * GELU_REACH / 16.0;
            let found = fit(|x| at(x) * phi(-at(x)), 4);
            largest = largest.max(found.error);
            for (a, b) in quantized(&found, 24).iter().zip(fixed) {
                assert!((a - b).abs() < 1 << 6, "{segment}: {a} {b}");
            }
        }
        assert!((largest / 9.4065e-6 - 1.0).abs() < 1e-3, "{largest}");
    }

    #[test]
    fn a_polynomial_is_its_own_fit() {
        let found = fit(|x| 1.0 - 2.0 * x + 0.5 * x * x, 3);
        assert!(found.error < 1e-12);
        assert!((found.value(0.3) - 0.445).abs() < 1e-12);
    }
}
