//! How many tokens a point saw.

use super::{Accumulator, Batch, Observer};
use quantizers::statistics::{Statistic, TOKEN_COUNT};

/// Rows of all batches.
pub(super) struct TokenCount;

impl Observer for TokenCount {
    fn statistic(&self) -> &'static Statistic {
        &TOKEN_COUNT
    }

    fn start(&self, _width: usize) -> Box<dyn Accumulator> {
        Box::new(Tokens(0))
    }
}

struct Tokens(usize);

impl Accumulator for Tokens {
    fn add(&mut self, batch: &Batch) {
        self.0 += batch.values.dims()[0];
    }

    fn finish(self: Box<Self>) -> (Vec<usize>, Vec<f32>) {
        (vec![1], vec![self.0 as f32])
    }
}
