//! Observers: accumulators of one statistic each, fed with what is seen at a point of a model: the
//! input of linear layers, and whatever else a [`crate::Tap`] sees.
//!
//! Adding one is a new file here plus two lines: the `mod` line and the entry in [`OBSERVERS`].
//! Reductions are f64 and run in sequence order, so results do not depend on the thread count.

mod input_abs_mean;
mod input_abs_max;
mod input_mean_square;
mod hessian;
mod moving_average;
mod input_range;
mod percentile;
mod channel_range;
mod sequence_samples;
mod token_count;

use crate::hidden::values;
use burn::tensor::Tensor;
use quantizers::statistics::Statistic;

/// Every observer, in the order `quench list` prints them.
pub static OBSERVERS: &[&dyn Observer] = &[
    &input_range::MinMax,
    &percentile::Percentile,
    &moving_average::MovingAverage,
    &input_abs_mean::AbsMean,
    &input_abs_max::AbsMax,
    &input_mean_square::InputMeanSquare,
    &hessian::Hessian,
    &channel_range::ChannelRange,
    &sequence_samples::SequenceSamples,
    &token_count::TokenCount,
];

/// Appended to the name of a point: the entry with the rows of each of its sequences.
pub const LENGTHS: &str = ":lengths";

/// Measures one statistic over what is seen at a point.
pub trait Observer: Sync {
    /// The statistic it measures.
    fn statistic(&self) -> &'static Statistic;
    /// A fresh accumulator for a point of `width` channels.
    fn start(&self, width: usize) -> Box<dyn Accumulator>;
}

/// What is seen at one point in one batch.
#[derive(Debug, Clone)]
pub struct Batch {
    /// `[sequences * tokens, width]`, sequence after sequence.
    pub values: Tensor<2>,
    /// Sequences, of equal length.
    pub sequences: usize,
    /// How many of them, from the first, belong to the sequences kept verbatim; for the same batch
    /// the same number at every point.
    pub kept: usize,
}

/// One statistic of one point, being accumulated.
pub trait Accumulator: Send {
    /// Takes in one batch.
    fn add(&mut self, batch: &Batch);
    /// The result: shape and values.
    fn finish(self: Box<Self>) -> (Vec<usize>, Vec<f32>);
    /// Rows of each sequence in the result, where it is made of sequences.
    fn lengths(&self) -> Option<&[usize]> {
        None
    }
}

/// The observer of a statistic; none where the forward pass does not measure it.
pub fn of(statistic: &Statistic) -> Option<&'static dyn Observer> {
    OBSERVERS
        .iter()
        .copied()
        .find(|observer| observer.statistic() == statistic)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};
    use quantizers::statistics::{Pass, STATISTICS};

    fn run(observer: &dyn Observer, batches: &[&[[f32; 2]]]) -> (Vec<usize>, Vec<f32>) {
        let mut accumulator = observer.start(2);
        for batch in batches {
            let flat: Vec<f32> = batch.iter().flatten().copied().collect();
            let data = TensorData::new(flat, [batch.len(), 2]);
            accumulator.add(&Batch {
                values: Tensor::from_data(data, &Device::flex()),
                sequences: batch.len(),
                kept: 1,
            });
        }
        accumulator.finish()
    }

    const BATCHES: &[&[[f32; 2]]] = &[&[[1.0, -2.0], [3.0, 0.5]], &[[-5.0, 4.0]]];

    #[test]
    fn min_max_spans_all_batches() {
        assert_eq!(
            run(&input_range::MinMax, BATCHES),
            (vec![2], vec![-5.0, 4.0])
        );
    }

    #[test]
    fn moving_average_weights_the_first_batch_nineteen_to_one() {
        // min: -2 then 0.95 * -2 + 0.05 * -5 = -2.15; max: 3 then 0.95 * 3 + 0.05 * 4 = 3.05
        let (_, range) = run(&moving_average::MovingAverage, BATCHES);
        assert!(
            (range[0] + 2.15).abs() < 1e-6 && (range[1] - 3.05).abs() < 1e-6,
            "{range:?}"
        );
    }

    #[test]
    fn abs_mean_is_per_channel_over_all_tokens() {
        // channel 0: (1 + 3 + 5) / 3; channel 1: (2 + 0.5 + 4) / 3
        let (shape, mean) = run(&input_abs_mean::AbsMean, BATCHES);
        assert_eq!(shape, vec![2]);
        assert!(
            (mean[0] - 3.0).abs() < 1e-6 && (mean[1] - 6.5 / 3.0).abs() < 1e-6,
            "{mean:?}"
        );
    }

    #[test]
    fn abs_max_is_per_channel_over_all_tokens() {
        assert_eq!(
            run(&input_abs_max::AbsMax, BATCHES),
            (vec![2], vec![5.0, 4.0])
        );
    }

    #[test]
    fn hessian_is_the_plain_second_moment() {
        // [1 3 -5; -2 .5 4] times its transpose: 35, 1*-2 + 3*.5 - 20 = -20.5, 20.25
        let (shape, hessian) = run(&hessian::Hessian, BATCHES);
        assert_eq!(shape, vec![2, 2]);
        assert_eq!(hessian, vec![35.0, -20.5, -20.5, 20.25]);
    }

    #[test]
    fn channel_ranges_by_hand() {
        // channel 0: 1, 3, -5; channel 1: -2, 0.5, 4.
        let (shape, found) = run(&channel_range::ChannelRange, BATCHES);
        assert_eq!(shape, [4, 2]);
        let mean = [-1.0 / 3.0, 2.5 / 3.0];
        let mean_square = [35.0 / 3.0, 20.25 / 3.0];
        assert_eq!(found[..4], [-5.0, -2.0, 3.0, 4.0]);
        assert_eq!(found[4..], [mean, mean_square].concat());
    }

    #[test]
    fn samples_are_the_kept_sequences_verbatim() {
        // One row per sequence, one sequence kept of each batch.
        let (shape, found) = run(&sequence_samples::SequenceSamples, BATCHES);
        assert_eq!((shape, found), (vec![2, 2], vec![1.0, -2.0, -5.0, 4.0]));
    }

    #[test]
    fn tokens_are_counted_over_all_batches() {
        assert_eq!(run(&token_count::TokenCount, BATCHES), (vec![1], vec![3.0]));
    }

    #[test]
    fn percentile_ignores_the_rare_extreme_and_min_max_does_not() {
        let mut rows: Vec<[f32; 2]> = (0..5000).map(|i| [(i % 100) as f32, 0.0]).collect();
        rows.push([1e6, -1e6]);
        let (_, range) = run(&percentile::Percentile, &[&rows]);
        assert!(range[1] < 200.0 && range[0] > -200.0, "{range:?}");
        let (_, range) = run(&input_range::MinMax, &[&rows]);
        assert_eq!(range, vec![-1e6, 1e6]);
    }

    #[test]
    fn every_statistic_of_the_forward_pass_has_one_observer() {
        for statistic in STATISTICS {
            let observers = OBSERVERS
                .iter()
                .filter(|observer| observer.statistic() == *statistic);
            let expected = usize::from(statistic.pass == Pass::Forward);
            assert_eq!(observers.count(), expected, "{}", statistic.name);
        }
    }
}
