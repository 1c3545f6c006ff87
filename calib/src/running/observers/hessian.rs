//! Second moment of the inputs, the Hessian of the layer's squared output error.

use super::{Accumulator, Batch, Observer, values};
use quantizers::statistics::{HESSIAN, Statistic};

/// `H = X^T X`: no factor 2, no averaging, no damping. f32 within a batch, f64 across batches.
pub(super) struct Hessian;

impl Observer for Hessian {
    fn statistic(&self) -> &'static Statistic {
        &HESSIAN
    }

    fn start(&self, width: usize) -> Box<dyn Accumulator> {
        Box::new(SecondMoment {
            width,
            sums: vec![0.0; width * width],
        })
    }
}

struct SecondMoment {
    width: usize,
    sums: Vec<f64>,
}

impl Accumulator for SecondMoment {
    fn add(&mut self, batch: &Batch) {
        let input = batch.values.clone();
        let product = values(input.clone().transpose().matmul(input));
        for (sum, value) in self.sums.iter_mut().zip(product) {
            *sum += f64::from(value);
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "statistics are stored as f32"
    )]
    fn finish(self: Box<Self>) -> (Vec<usize>, Vec<f32>) {
        (
            vec![self.width; 2],
            self.sums.iter().map(|&sum| sum as f32).collect(),
        )
    }
}
