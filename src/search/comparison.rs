//! How many measurements a search needs where every configuration has been measured: by trees, by chance, in order.

use quantizers::search::{Choices, Earlier, Explorer, shuffled};
use serde::Serialize;

/// Seeds each kind is tried with.
const SEEDS: u64 = 20;
/// How far from the best counts as found.
const WITHIN: f64 = 1e-3;

/// Measurements until one is within 0.1 % of the best, as medians over 20 seeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// Configurations of the space.
    pub configurations: usize,
    /// Trees that learn from this model alone.
    pub trees: usize,
    /// Trees that have learned from other models; nothing without any.
    pub transferred: Option<usize>,
    /// In random order.
    pub random: usize,
    /// In the order of the grid.
    pub grid: usize,
}

impl Comparison {
    /// Of a space all of which has been measured: `values` in the order of configurations, nothing where one cannot be
    /// measured; `loss` is least where a value is best. Nothing where no configuration can be measured.
    pub fn of(
        space: &Choices,
        values: &[Option<f64>],
        loss: impl Fn(f64) -> f64,
        earlier: &[Earlier],
    ) -> Option<Self> {
        let losses: Vec<Option<f64>> = values.iter().map(|value| value.map(&loss)).collect();
        let found = losses.iter().flatten().copied();
        let least = found.min_by(f64::total_cmp)?;
        let best = losses.iter().position(|loss| *loss == Some(least))?;
        let best = values[best]?;
        let is_best = |at: usize| {
            values[at].is_some_and(|value| {
                loss(value) <= least || (value - best).abs() <= WITHIN * best.abs()
            })
        };
        let trees = |earlier: &[Earlier]| {
            median((0..SEEDS).map(|seed| {
                let first = usize::try_from(seed).unwrap_or(0) * 37 % values.len();
                let mut explorer = Explorer::new(space.clone(), first, earlier, seed);
                let mut count = 0;
                while let Some(at) = explorer.suggest() {
                    count += 1;
                    if is_best(at) {
                        break;
                    }
                    explorer.add(at, losses[at]);
                }
                count
            }))
        };
        let random = median((0..SEEDS).map(|seed| {
            let order = shuffled(values.len(), seed).into_iter();
            order.take_while(|at| !is_best(*at)).count() + 1
        }));
        Some(Self {
            configurations: values.len(),
            trees: trees(&[]),
            transferred: (!earlier.is_empty()).then(|| trees(earlier)),
            random,
            grid: (0..values.len()).take_while(|at| !is_best(*at)).count() + 1,
        })
    }
}

fn median(counts: impl Iterator<Item = usize>) -> usize {
    let mut counts: Vec<usize> = counts.collect();
    counts.sort_unstable();
    counts.get(counts.len() / 2).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_is_counted_until_the_best_is_found() {
        let space = Choices::new(vec![4, 3]);
        // Higher is better; the best is the last but one, and the last cannot be measured.
        let values: Vec<Option<f64>> = (0..12)
            .map(|at| (at != 11).then_some(f64::from(at) + 1.0))
            .collect();
        let found = Comparison::of(&space, &values, |value| -value, &[]).unwrap();
        assert_eq!((found.configurations, found.grid), (12, 11));
        assert!((4..=9).contains(&found.random), "{found:?}");
        assert!((1..=12).contains(&found.trees), "{found:?}");
        assert_eq!(found.transferred, None);
        let earlier: Earlier = (0..11).map(|at| (at, -10.0 * at as f64)).collect();
        let taught = Comparison::of(&space, &values, |value| -value, &[earlier]).unwrap();
        assert!(taught.transferred.unwrap() <= 2, "{taught:?}");
        assert!(Comparison::of(&space, &[None; 12], |value| value, &[]).is_none());
    }
}
