//! Sums of two tensors.

use super::elementwise::for_each_part;
use super::host::{Host, HostOperation, apply, contiguous, shape, tensor, values};
use crate::layers::kernels::rows::add;
use burn::backend::flex::FlexTensor;
use burn::tensor::Tensor;

/// `x + y` of tensors of one shape.
pub(in crate::layers) fn sum<const D: usize>(x: Tensor<D>, y: Tensor<D>) -> Tensor<D> {
    match (Host::of(&x), Host::of(&y)) {
        (Some(first), Some(second)) if x.dims() == y.dims() => {
            drop((x, y));
            apply(Sum, [first, second])
        }
        _ => x + y,
    }
}

#[derive(Debug, Clone)]
struct Sum;

impl HostOperation<2> for Sum {
    type Saved = ();

    fn forward(self, inputs: [FlexTensor; 2]) -> (FlexTensor, Self::Saved) {
        let [x, y] = inputs.map(contiguous);
        let mut out = values(&x).to_vec();
        let more = values(&y);
        for_each_part(&mut out, 1, |from, out| {
            add(&more[from..from + out.len()], out);
        });
        (tensor(out, shape(&x)), ())
    }

    fn gradient(
        (): Self::Saved,
        gradient: FlexTensor,
        wanted: [bool; 2],
    ) -> [Option<FlexTensor>; 2] {
        wanted.map(|wanted| wanted.then(|| gradient.clone()))
    }
}
