//! Range and moments of every channel.

use super::{Accumulator, Batch, Observer, values};
use quantizers::statistics::{CHANNEL_RANGE, Statistic};

/// Minimum, maximum, mean and mean square per channel.
pub(super) struct ChannelRange;

impl Observer for ChannelRange {
    fn statistic(&self) -> &'static Statistic {
        &CHANNEL_RANGE
    }

    fn start(&self, width: usize) -> Box<dyn Accumulator> {
        Box::new(Channels {
            channels: vec![Channel::default(); width],
            tokens: 0,
        })
    }
}

#[derive(Clone)]
struct Channel {
    min: f32,
    max: f32,
    sum: f64,
    square: f64,
}

impl Default for Channel {
    fn default() -> Self {
        Self {
            min: f32::INFINITY,
            max: f32::NEG_INFINITY,
            sum: 0.0,
            square: 0.0,
        }
    }
}

struct Channels {
    channels: Vec<Channel>,
    tokens: u64,
}

impl Accumulator for Channels {
    fn add(&mut self, batch: &Batch) {
        for row in values(batch.values.clone()).chunks_exact(self.channels.len()) {
            for (channel, &value) in self.channels.iter_mut().zip(row) {
                channel.min = channel.min.min(value);
                channel.max = channel.max.max(value);
                channel.sum += f64::from(value);
                channel.square += f64::from(value) * f64::from(value);
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
        let rows: [&dyn Fn(&Channel) -> f32; 4] = [
            &|channel| channel.min,
            &|channel| channel.max,
            &|channel| (channel.sum / tokens) as f32,
            &|channel| (channel.square / tokens) as f32,
        ];
        let values = rows.iter().flat_map(|row| self.channels.iter().map(row));
        (vec![rows.len(), self.channels.len()], values.collect())
    }
}
