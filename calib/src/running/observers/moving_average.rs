//! Exponential moving average of every batch's extremes.

use super::input_range::extremes;
use super::{Accumulator, Batch, Observer, values};
use quantizers::statistics::{MOVING_AVERAGE, Statistic};

/// Weight of the newest batch: momentum 0.95, as I-BERT's `QuantAct` averages activation ranges
/// (Kim et al. 2021, released code).
const NEWEST: f64 = 0.05;

/// `range <- 0.95 range + 0.05 batch_range`, batches in calibration order; the first one is the start.
pub(super) struct MovingAverage;

impl Observer for MovingAverage {
    fn statistic(&self) -> &'static Statistic {
        &MOVING_AVERAGE
    }

    fn start(&self, _width: usize) -> Box<dyn Accumulator> {
        Box::new(Average { range: None })
    }
}

struct Average {
    range: Option<(f64, f64)>,
}

impl Accumulator for Average {
    fn add(&mut self, batch: &Batch) {
        let (low, high) = extremes(&values(batch.values.clone()));
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
