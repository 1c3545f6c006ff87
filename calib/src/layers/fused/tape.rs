//! Where a tape is read, and where a gradient enters it.

use super::host::{Host, HostOperation, apply, tensor};
use burn::backend::flex::FlexTensor;
use burn::tensor::{Shape, Tensor};

/// `x` unchanged, and a leaf at which the gradient of `x` arrives.
pub(crate) fn probe(x: Tensor<3>) -> (Tensor<3>, Tensor<3>) {
    let device = x.device();
    if let Some(host) = Host::of(&x) {
        let leaf = Tensor::<3>::zeros([1, 1, 1], &device).require_grad();
        if let Some(handle) = Host::of(&leaf) {
            return (apply(Probe, [host, handle]), leaf);
        }
    }
    let leaf = Tensor::<3>::zeros(x.dims(), &device).require_grad();
    (x + leaf.clone(), leaf)
}

/// A scalar whose gradient with respect to `x` is `gradient`, of the shape of `x`.
pub(crate) fn seed(x: Tensor<3>, gradient: Tensor<3>) -> Tensor<1> {
    match (Host::of(&x), Host::constant(&gradient)) {
        (Some(host), Some(gradient)) => apply(Seed(gradient), [host]),
        _ => (x * gradient).sum(),
    }
}

/// The gradient of the first input is that of the second, too, whatever the second's shape: nothing
/// is added to the first.
#[derive(Debug, Clone)]
struct Probe;

impl HostOperation<2> for Probe {
    type Saved = ();

    fn forward(&self, [x, _leaf]: [FlexTensor; 2]) -> (FlexTensor, Self::Saved) {
        (x, ())
    }

    fn gradient(
        &self,
        (): Self::Saved,
        gradient: FlexTensor,
        wanted: [bool; 2],
    ) -> [Option<FlexTensor>; 2] {
        wanted.map(|wanted| wanted.then(|| gradient.clone()))
    }
}

#[derive(Debug, Clone)]
struct Seed(FlexTensor);

impl HostOperation<1> for Seed {
    type Saved = ();

    // The value is never looked at; its gradient, one, is where a backward pass starts.
    fn forward(&self, [_x]: [FlexTensor; 1]) -> (FlexTensor, Self::Saved) {
        (tensor(vec![0.0], Shape::new([1])), ())
    }

    fn gradient(
        &self,
        (): Self::Saved,
        _one: FlexTensor,
        _wanted: [bool; 1],
    ) -> [Option<FlexTensor>; 1] {
        [Some(self.0.clone())]
    }
}
