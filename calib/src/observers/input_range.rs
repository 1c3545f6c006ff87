//! Smallest and largest input.

use super::{Accumulator, Batch, Form, Observer, values};
use quantizers::Stat;

/// `[min, max]` over everything seen.
pub(super) struct MinMax;

impl Observer for MinMax {
    fn name(&self) -> &'static str {
        "min_max"
    }

    fn summary(&self) -> &'static str {
        "smallest and largest input over all calibration tokens"
    }

    fn stat(&self) -> Option<Stat> {
        Some(Stat::InputRange)
    }

    fn form(&self) -> Option<Form> {
        Some(Form::Range)
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
