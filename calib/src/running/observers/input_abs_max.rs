//! Largest |x| of every input channel.

use super::{Accumulator, Batch, Observer, values};
use quantizers::statistics::{INPUT_ABS_MAX, Statistic};

/// `max_t |x[t, c]|` per channel `c`.
pub(super) struct AbsMax;

impl Observer for AbsMax {
    fn statistic(&self) -> &'static Statistic {
        &INPUT_ABS_MAX
    }

    fn start(&self, width: usize) -> Box<dyn Accumulator> {
        Box::new(Maxima(vec![0.0; width]))
    }
}

struct Maxima(Vec<f32>);

impl Accumulator for Maxima {
    fn add(&mut self, batch: &Batch) {
        for row in values(batch.values.clone()).chunks_exact(self.0.len()) {
            for (most, value) in self.0.iter_mut().zip(row) {
                // Not `f32::max`, which would lose a value that is not a number.
                let value = value.abs();
                if value > *most || value.is_nan() {
                    *most = value;
                }
            }
        }
    }

    fn finish(self: Box<Self>) -> (Vec<usize>, Vec<f32>) {
        (vec![self.0.len()], self.0)
    }
}
