//! Mean |x| of every input channel.

use super::input_mean_square::ChannelMeans;
use super::{Accumulator, Observer};
use quantizers::statistics::{INPUT_ABS_MEAN, Statistic};

/// `mean_t |x[t, c]|` per channel `c`.
pub(super) struct AbsMean;

impl Observer for AbsMean {
    fn statistic(&self) -> &'static Statistic {
        &INPUT_ABS_MEAN
    }

    fn start(&self, width: usize) -> Box<dyn Accumulator> {
        Box::new(ChannelMeans::new(width, |value| f64::from(value.abs())))
    }
}
