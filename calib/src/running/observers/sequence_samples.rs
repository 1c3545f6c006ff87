//! The first calibration sequences themselves.

use super::{Accumulator, Batch, Observer, values};
use quantizers::statistics::{SEQUENCE_SAMPLES, Statistic};

/// Whole sequences kept verbatim, the same ones at every point: from them the input and output of
/// any function between points can be had for the same tokens. How many is decided where batches
/// are run ([`crate::collect`]), by what fits at the widest point.
pub(super) struct SequenceSamples;

impl Observer for SequenceSamples {
    fn statistic(&self) -> &'static Statistic {
        &SEQUENCE_SAMPLES
    }

    fn start(&self, width: usize) -> Box<dyn Accumulator> {
        Box::new(Kept {
            width,
            values: Vec::new(),
            lengths: Vec::new(),
        })
    }
}

struct Kept {
    width: usize,
    values: Vec<f32>,
    lengths: Vec<usize>,
}

impl Accumulator for Kept {
    fn add(&mut self, batch: &Batch) {
        if batch.kept == 0 {
            return;
        }
        let length = batch.values.dims()[0] / batch.sequences;
        let rows = batch.values.clone().narrow(0, 0, batch.kept * length);
        self.values.extend(values(rows));
        self.lengths.extend(vec![length; batch.kept]);
    }

    fn finish(self: Box<Self>) -> (Vec<usize>, Vec<f32>) {
        (vec![self.lengths.iter().sum(), self.width], self.values)
    }

    fn lengths(&self) -> Option<&[usize]> {
        Some(&self.lengths)
    }
}
