//! Sums of squared weight gradients: the diagonal Fisher.

use super::{GradientAccumulator, GradientObserver};
use crate::hidden::values;
use crate::layers::fused::add_squared_products;
use crate::running::measured::Entry;
use crate::{LayerSpec, WeightGradient};
use burn::tensor::Tensor;
use quantizers::statistics::{FISHER, Statistic};

/// `sum over sequences of (d loss / d w)^2`, in checkpoint layout.
pub(super) struct Fisher;

impl GradientObserver for Fisher {
    fn statistic(&self) -> &'static Statistic {
        &FISHER
    }

    fn start(&self, layer: &LayerSpec) -> Box<dyn GradientAccumulator> {
        let shape = if layer.transposed {
            [layer.cols, layer.rows]
        } else {
            [layer.rows, layer.cols]
        };
        Box::new(Squares { shape, sum: None })
    }
}

struct Squares {
    shape: [usize; 2],
    sum: Option<Tensor<2>>,
}

impl GradientAccumulator for Squares {
    fn add(&mut self, gradients: &[WeightGradient]) {
        let factors = gradients.iter().map(|gradient| gradient.clone().factors());
        let before = self.sum.take();
        self.sum = add_squared_products(before, factors.collect());
    }

    fn finish(self: Box<Self>) -> Entry {
        let count = self.shape.iter().product();
        Entry {
            shape: self.shape.to_vec(),
            values: self.sum.map_or_else(|| vec![0.0; count], values),
        }
    }
}
