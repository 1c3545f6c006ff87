//! Exponential moving average of every batch's extremes.

use super::input_range::extremes;
use super::{Accumulator, Observer, values};
use burn::tensor::Tensor;
use quantizers::Stat;

/// Weight of the newest batch, the usual averaging constant of 0.1 (momentum 0.9).
const NEWEST: f64 = 0.1;

/// `range <- 0.9 range + 0.1 batch_range`, batches in calibration order.
pub(super) struct MovingAverage;

impl Observer for MovingAverage {
    fn name(&self) -> &'static str {
        "moving_average"
    }

    fn summary(&self) -> &'static str {
        "exponential moving average (0.9) of each sequence's smallest and largest input"
    }

    fn stat(&self) -> Stat {
        Stat::InputRange
    }

    fn start(&self, _width: usize) -> Box<dyn Accumulator> {
        Box::new(Average { range: None })
    }
}

struct Average {
    range: Option<(f64, f64)>,
}

impl Accumulator for Average {
    fn add(&mut self, input: Tensor<2>) {
        let (low, high) = extremes(&values(input));
        let (low, high) = (f64::from(low), f64::from(high));
        self.range = Some(match self.range {
            None => (low, high),
            Some((old_low, old_high)) => (
                old_low + NEWEST * (low - old_low),
                old_high + NEWEST * (high - old_high),
            ),
        });
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "the range is stored as f32"
    )]
    fn finish(self: Box<Self>) -> (Vec<usize>, Vec<f32>) {
        let (low, high) = self.range.unwrap_or((f64::INFINITY, f64::NEG_INFINITY));
        (vec![2], vec![low as f32, high as f32])
    }
}
