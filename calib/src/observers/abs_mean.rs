//! Mean |x| of every input channel.

use super::{Accumulator, Batch, Observer, values};
use quantizers::Stat;

/// `mean_t |x[t, c]|` per channel `c`.
pub(super) struct AbsMean;

impl Observer for AbsMean {
    fn name(&self) -> &'static str {
        "abs_mean"
    }

    fn summary(&self) -> &'static str {
        "mean |x| of every input channel"
    }

    fn stat(&self) -> Option<Stat> {
        Some(Stat::InputAbsMean)
    }

    fn start(&self, width: usize) -> Box<dyn Accumulator> {
        Box::new(Sums {
            sums: vec![0.0; width],
            tokens: 0,
        })
    }
}

struct Sums {
    sums: Vec<f64>,
    tokens: u64,
}

impl Accumulator for Sums {
    fn add(&mut self, batch: &Batch) {
        for row in values(batch.values.clone()).chunks_exact(self.sums.len()) {
            for (sum, value) in self.sums.iter_mut().zip(row) {
                *sum += f64::from(value.abs());
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
