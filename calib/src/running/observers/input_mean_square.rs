//! Mean x^2 of every input channel.

use super::{Accumulator, Batch, Observer, values};
use quantizers::statistics::{INPUT_MEAN_SQUARE, Statistic};

/// `mean_t x[t, c]^2` per channel `c`.
pub(super) struct InputMeanSquare;

impl Observer for InputMeanSquare {
    fn statistic(&self) -> &'static Statistic {
        &INPUT_MEAN_SQUARE
    }

    fn start(&self, width: usize) -> Box<dyn Accumulator> {
        Box::new(ChannelMeans::new(width, |value| {
            f64::from(value) * f64::from(value)
        }))
    }
}

/// The mean over all tokens of a function of every value, by channel.
pub(super) struct ChannelMeans {
    of: fn(f32) -> f64,
    sums: Vec<f64>,
    tokens: u64,
}

impl ChannelMeans {
    /// Nothing seen yet.
    pub(super) fn new(width: usize, of: fn(f32) -> f64) -> Self {
        Self {
            of,
            sums: vec![0.0; width],
            tokens: 0,
        }
    }
}

impl Accumulator for ChannelMeans {
    fn add(&mut self, batch: &Batch) {
        for row in values(batch.values.clone()).chunks_exact(self.sums.len()) {
            for (sum, value) in self.sums.iter_mut().zip(row) {
                *sum += (self.of)(*value);
            }
            self.tokens += 1;
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "statistics are stored as f32"
    )]
    fn finish(self: Box<Self>) -> (Vec<usize>, Vec<f32>) {
        let tokens = self.tokens.max(1) as f64;
        (
            vec![self.sums.len()],
            self.sums.iter().map(|sum| (sum / tokens) as f32).collect(),
        )
    }
}
