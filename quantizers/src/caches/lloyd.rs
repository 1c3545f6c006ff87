//! Tables of known densities: the values that are nearest to a random number on average.
//!
//! Lloyd's iteration on integrals of the density: every value moves to the mean of what is nearest to it, until none
//! moves. The densities here are log-concave, for which the result is the only one and the best (Kieffer, 1983).

/// Cells in which a density counts as constant.
const CELLS: usize = 1 << 15;
/// The iteration ends when no value moves further, relative to the width of the density.
const STILL: f64 = 1e-11;
/// Steps at most; 16 values need some thousand.
const STEPS: usize = 100_000;

/// A density on an interval, not necessarily of integral 1.
#[derive(Debug, Clone)]
pub(super) struct Density {
    low: f64,
    width: f64,
    /// Integral below each border of a cell, `[CELLS + 1]`.
    mass: Vec<f64>,
    /// Integral of `x` times the density.
    first: Vec<f64>,
    /// Integral of its square times the density.
    second: Vec<f64>,
}

/// The best table of a density.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LloydTable {
    /// Ascending.
    pub(super) values: Vec<f64>,
    /// Mean squared error.
    pub(super) error: f64,
}

impl Density {
    fn new(low: f64, high: f64, density: impl Fn(f64) -> f64) -> Self {
        let width = (high - low) / CELLS as f64;
        let mut sums = [vec![0.0], vec![0.0], vec![0.0]];
        let mut total = [0.0; 3];
        for cell in 0..CELLS {
            let x = low + (cell as f64 + 0.5) * width;
            let mass = density(x) * width;
            for (power, total) in total.iter_mut().enumerate() {
                *total += mass * x.powi(i32::try_from(power).unwrap_or(0));
            }
            for (sums, total) in sums.iter_mut().zip(total) {
                sums.push(total);
            }
        }
        let [mass, first, second] = sums;
        Self {
            low,
            width,
            mass,
            first,
            second,
        }
    }

    /// A coordinate of a uniform unit vector of `dim` coordinates, at least 3, times `sqrt(dim)`:
    /// `(1 - x^2 / dim)^((dim - 3) / 2)`. `TurboQuant` (Zandieh et al., 2025), lemma 1.
    pub(super) fn coordinate(dim: usize) -> Self {
        let dim = dim as f64;
        // Beyond ten standard deviations there is nothing to speak of.
        let reach = dim.sqrt().min(10.0);
        Self::new(-reach, reach, |x| {
            (1.0 - x * x / dim).max(0.0).powf((dim - 3.0) / 2.0)
        })
    }

    /// The angle of two radii of `2^(level - 1)` coordinates each, `level` at least 2:
    /// `sin(2 x)^(2^(level - 1) - 1)` from 0 to half pi. `PolarQuant` (Han et al., 2025), lemma 2.
    pub(super) fn angle(level: u32) -> Self {
        let power = f64::from((1_u32 << (level - 1)) - 1);
        Self::new(0.0, std::f64::consts::FRAC_PI_2, |x| {
            (2.0 * x).sin().max(0.0).powf(power)
        })
    }

    /// Integrals of the density, and of it times `x`, below `x`.
    fn below(&self, x: f64) -> (f64, f64) {
        let at = ((x - self.low) / self.width).clamp(0.0, CELLS as f64);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped to the cells"
        )]
        let cell = (at as usize).min(CELLS - 1);
        let share = at - cell as f64;
        let mass = share * (self.mass[cell + 1] - self.mass[cell]);
        let middle = self.low + (cell as f64 + 0.5 * share) * self.width;
        (self.mass[cell] + mass, self.first[cell] + mass * middle)
    }

    /// The best table of `entries` values.
    pub(super) fn table(&self, entries: usize) -> LloydTable {
        let total = self.mass[CELLS];
        // Quantiles are a fair start, and no run of them is empty.
        let quantile = |share: f64| {
            let cell = self.mass.partition_point(|mass| *mass < share * total);
            self.low + cell as f64 * self.width
        };
        let start = (0..entries).map(|at| quantile((at as f64 + 0.5) / entries as f64));
        let mut values: Vec<f64> = start.collect();
        for _ in 0..STEPS {
            let mut before = (0.0, 0.0);
            let mut moved = 0.0_f64;
            for at in 0..entries {
                let after = match values.get(at + 1) {
                    Some(next) => self.below(0.5 * (values[at] + next)),
                    None => (total, self.first[CELLS]),
                };
                let mean = (after.1 - before.1) / (after.0 - before.0);
                moved = moved.max((mean - values[at]).abs());
                values[at] = mean;
                before = after;
            }
            if moved <= STILL * self.width * CELLS as f64 {
                break;
            }
        }
        // E (x - v)^2 = E x^2 - E v^2, as every value is the mean of its run.
        let mut before = 0.0;
        let mut squares = 0.0;
        for (at, value) in values.iter().enumerate() {
            let after = match values.get(at + 1) {
                Some(next) => self.below(0.5 * (value + next)).0,
                None => total,
            };
            squares += (after - before) * value * value;
            before = after;
        }
        let error = (self.second[CELLS] - squares) / total;
        LloydTable { values, error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values above the middle of the density, which mirror those below.
    fn upper(density: &Density, bits: u32, middle: f64) -> (Vec<f64>, f64) {
        let LloydTable { values, error } = density.table(1 << bits);
        for (low, high) in values.iter().zip(values.iter().rev()) {
            assert!((low + high - 2.0 * middle).abs() < 1e-6);
        }
        (values[values.len() / 2..].to_vec(), error)
    }

    fn assert_near(found: &[f64], expected: &[f64], tolerance: f64) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < tolerance, "{found} {expected}");
        }
    }

    // The normal distribution: Max (1960). Unit vectors of 128 coordinates: Simpson's rule and the antiderivative of `x`
    // times the density, in another program. Published tables for 128 that are off in the fourth digit have a larger
    // error for this density.
    #[test]
    fn tables_of_coordinates_are_the_known_ones() {
        // 2^24 coordinates are as good as infinitely many.
        let normal = Density::coordinate(1 << 24);
        let sphere = Density::coordinate(128);
        let tables: [(&[f64], f64, &[f64], f64); 4] = [
            (&[0.79788], 0.3634, &[0.799_444], 0.360_889),
            (
                &[0.45278, 1.51042],
                0.1175,
                &[0.452_453, 1.505_193],
                0.116_000,
            ),
            (
                &[0.24509, 0.75601, 1.34391, 2.15195],
                0.03455,
                &[0.244_425, 0.753_330, 1.336_599, 2.131_471],
                0.033_966,
            ),
            (
                &[
                    0.12840, 0.38805, 0.65676, 0.94234, 1.25623, 1.61805, 2.06902, 2.73259,
                ],
                0.0095,
                &[
                    0.127_873, 0.386_381, 0.653_619, 0.937_097, 1.247_770, 1.604_342, 2.045_924,
                    2.688_857,
                ],
                0.009_315,
            ),
        ];
        for (bits, (limit, limit_error, exact, exact_error)) in (1..).zip(tables) {
            let (values, error) = upper(&normal, bits, 0.0);
            assert_near(&values, limit, 1e-4);
            assert_near(&[error], &[limit_error], 1e-4);
            let (values, error) = upper(&sphere, bits, 0.0);
            assert_near(&values, exact, 1e-5);
            assert_near(&[error], &[exact_error], 1e-5);
        }
    }

    #[test]
    fn tables_of_angles_are_the_known_ones() {
        let known = [
            (2, [0.30975, 0.63396, 0.93680, 1.26103], 0.0996),
            (3, [0.42623, 0.67436, 0.89639, 1.14453], 0.0785),
            (4, [0.52420, 0.70589, 0.86487, 1.04657], 0.0583),
        ];
        for (level, values, rms) in known {
            let density = Density::angle(level);
            assert_near(&density.table(4).values, &values, 1e-4);
            let (_, error) = upper(&density, 2, std::f64::consts::FRAC_PI_4);
            assert_near(&[error.sqrt()], &[rms], 1e-4);
        }
    }
}
