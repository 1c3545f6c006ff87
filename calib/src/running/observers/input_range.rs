//! Smallest and largest input.

use super::{Accumulator, Batch, Observer, values};
use quantizers::statistics::{MIN_MAX, Statistic};

/// `[min, max]` over everything seen.
pub(super) struct MinMax;

impl Observer for MinMax {
    fn statistic(&self) -> &'static Statistic {
        &MIN_MAX
    }

    fn start(&self, _width: usize) -> Box<dyn Accumulator> {
        Box::new(Range {
            low: f32::INFINITY,
            high: f32::NEG_INFINITY,
        })
    }
}

struct Range {
    low: f32,
    high: f32,
}

impl Accumulator for Range {
    fn add(&mut self, batch: &Batch) {
        let (low, high) = extremes(&values(batch.values.clone()));
        self.low = self.low.min(low);
        self.high = self.high.max(high);
    }

    fn finish(self: Box<Self>) -> (Vec<usize>, Vec<f32>) {
        (vec![2], vec![self.low, self.high])
    }
}

/// Smallest and largest of `values`.
pub(super) fn extremes(values: &[f32]) -> (f32, f32) {
    values
        .iter()
        .fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &value| {
            (low.min(value), high.max(value))
        })
}
