//! Uncertainty of paired figures: bootstrap, Wilson, exact `McNemar`.

use crate::metrics::quantile;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rayon::prelude::*;

/// Resamples of a bootstrap: the 2.5 % tail holds 50 of them.
pub const RESAMPLES: u64 = 2000;

/// A two-sided 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Lower and upper end.
    pub ci95: [f64; 2],
    /// Standard deviation of the resampled figure.
    pub standard_error: f64,
}

/// Percentile bootstrap of `K` figures at once, over `units` that are drawn with replacement.
///
/// `figures` gets the indices of one resample and returns the figures of it; resample `r` draws from
/// stream `r` of a `ChaCha8` generator seeded with `seed`, so that threads do not matter. `None` for a
/// figure that was not finite in any resample, and for all with fewer than two units.
pub fn bootstrap<const K: usize>(
    units: usize,
    seed: u64,
    figures: impl Fn(&[usize]) -> [f64; K] + Sync,
) -> [Option<Interval>; K] {
    if units < 2 {
        return [None; K];
    }
    let drawn: Vec<[f64; K]> = (0..RESAMPLES)
        .into_par_iter()
        .map_init(Vec::new, |indices, resample| {
            let mut generator = ChaCha8Rng::seed_from_u64(seed);
            generator.set_stream(resample);
            indices.clear();
            indices.extend((0..units).map(|_| below(&mut generator, units)));
            figures(indices)
        })
        .collect();
    std::array::from_fn(|figure| {
        let mut values: Vec<f64> = drawn.iter().map(|figures| figures[figure]).collect();
        if values.iter().any(|value| !value.is_finite()) {
            return None;
        }
        values.sort_by(f64::total_cmp);
        let mean = crate::metrics::mean(&values);
        let variance = values
            .iter()
            .map(|value| (value - mean).powi(2))
            .sum::<f64>()
            / (values.len() - 1) as f64;
        Some(Interval {
            ci95: [quantile(&values, 0.025), quantile(&values, 0.975)],
            standard_error: variance.sqrt(),
        })
    })
}

/// A number below `limit`, by the high half of a 64 x 64 bit product (bias below `limit / 2^64`).
#[expect(
    clippy::cast_possible_truncation,
    reason = "the high half is below `limit`"
)]
fn below(generator: &mut ChaCha8Rng, limit: usize) -> usize {
    ((u128::from(generator.next_u64()) * limit as u128) >> 64) as usize
}

/// Wilson score interval of a proportion, 95 %.
///
/// `None` without trials. Stays inside `0..=1` and has a width where every trial succeeded.
pub fn wilson(successes: u64, trials: u64) -> Option<[f64; 2]> {
    /// 97.5 % point of the normal distribution.
    const Z: f64 = 1.959_963_984_540_054;
    if trials == 0 {
        return None;
    }
    let n = trials as f64;
    let p = successes as f64 / n;
    let centre = p + Z * Z / (2.0 * n);
    let half = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    Some([
        ((centre - half) / scale).max(0.0),
        ((centre + half) / scale).min(1.0),
    ])
}

/// Two-sided exact `McNemar` p-value: `lost` rows only the original has right, `won` only the other.
///
/// `min(1, 2 P(X <= min))` with `X` binomial of `lost + won` fair trials; 1 where they never differ.
pub fn mcnemar(lost: u64, won: u64) -> f64 {
    let trials = lost + won;
    let smaller = lost.min(won);
    // Terms in logarithms: 0.5^n underflows beyond a thousand discordant rows.
    let mut log_term = trials as f64 * 0.5_f64.ln();
    let mut tail = log_term.exp();
    for i in 1..=smaller {
        log_term += ((trials - i + 1) as f64 / i as f64).ln();
        tail += log_term.exp();
    }
    (2.0 * tail).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn mcnemar_equals_known_values() {
        // binomtest(min, n, 0.5): n = 12, k = 2: 2 * (1 + 12 + 66) / 4096 = 0.03857421875
        assert!((mcnemar(2, 10) - 0.038_574_218_75).abs() < 1e-14);
        assert!((mcnemar(10, 2) - 0.038_574_218_75).abs() < 1e-14);
        // n = 5, k = 0: 2 / 32
        assert!((mcnemar(0, 5) - 0.0625).abs() < 1e-15);
        assert!((mcnemar(0, 0) - 1.0).abs() <= 0.0);
        assert!((mcnemar(7, 7) - 1.0).abs() <= 0.0);
        // Textbook case, 59 against 6: exact p = 1.3e-11 or so, and no underflow at 3000 rows.
        assert!(mcnemar(6, 59) < 1e-10);
        assert!(mcnemar(1400, 1600) > 2e-4 && mcnemar(1400, 1600) < 3e-4);
    }

    #[test]
    fn wilson_equals_the_published_example() {
        // 8 of 10: 0.4901625 .. 0.9433178
        let [low, high] = wilson(8, 10).unwrap();
        assert!((low - 0.490_162_5).abs() < 1e-7 && (high - 0.943_317_8).abs() < 1e-7);
        let [low, high] = wilson(10, 10).unwrap();
        assert!(low < 0.75 && (high - 1.0).abs() < 1e-12);
        assert_eq!(wilson(0, 0), None);
    }

    #[test]
    fn the_interval_of_a_mean_is_the_normal_one() {
        // 400 values with mean 0.5 and standard deviation 0.5: standard error 0.025.
        let values: Vec<f64> = (0..400).map(|i| f64::from(i % 2)).collect();
        let [interval] = bootstrap(values.len(), 3, |rows| {
            [rows.iter().map(|&row| values[row]).sum::<f64>() / rows.len() as f64]
        });
        let interval = interval.unwrap();
        assert!(
            (interval.standard_error - 0.025).abs() < 0.0015,
            "{interval:?}"
        );
        assert!((interval.ci95[0] - 0.451).abs() < 0.006, "{interval:?}");
        assert!((interval.ci95[1] - 0.549).abs() < 0.006, "{interval:?}");
    }

    #[test]
    fn threads_do_not_matter_and_seeds_do() {
        let run = |threads, seed| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| {
                bootstrap(50, seed, |rows| {
                    [rows.iter().map(|&row| row as f64).sum::<f64>()]
                })
            })
        };
        assert_eq!(run(1, 7), run(4, 7));
        assert_ne!(run(1, 7), run(1, 8));
    }

    #[test]
    fn no_interval_where_there_is_nothing_to_resample() {
        assert_eq!(bootstrap(1, 0, |_| [1.0]), [None]);
        assert_eq!(bootstrap(3, 0, |_| [f64::NAN]), [None]);
    }

    proptest! {
        #[test]
        fn mcnemar_is_a_probability_and_symmetric(lost in 0_u64..200, won in 0_u64..200) {
            let p = mcnemar(lost, won);
            prop_assert!((0.0..=1.0).contains(&p));
            prop_assert!((p - mcnemar(won, lost)).abs() < 1e-12);
        }

        #[test]
        fn wilson_holds_the_proportion(trials in 1_u64..500, share in 0.0_f64..=1.0) {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0..=trials")]
            let successes = (share * trials as f64) as u64;
            let [low, high] = wilson(successes, trials).unwrap();
            let p = successes as f64 / trials as f64;
            prop_assert!((0.0..=1.0).contains(&low) && low <= p + 1e-12 && p <= high + 1e-12);
        }
    }
}
