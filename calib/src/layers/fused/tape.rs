//! Where a tape is read, and where a gradient enters it.

use super::host::{Host, HostOperation, apply, tensor};
use crate::hidden::values;
use burn::backend::flex::FlexTensor;
use burn::tensor::{Gradients, Shape, Tensor};
use std::sync::{Arc, Mutex, PoisonError};

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

/// Where a gradient enters a tape. It holds the tape's end, not its values.
pub(crate) struct End(Kind);

enum Kind {
    /// A scalar, and the slot from which it takes the gradient of the values.
    Host(Tensor<1>, Arc<Mutex<Option<FlexTensor>>>),
    Device(Tensor<3>),
}

impl End {
    /// The end of the tape of `x`.
    pub(crate) fn of(x: Tensor<3>) -> Self {
        Self(match Host::of(&x) {
            Some(host) => {
                let slot = Arc::default();
                Kind::Host(apply(Seed(Arc::clone(&slot)), [host]), slot)
            }
            None => Kind::Device(x),
        })
    }

    /// Sends the gradient of the values back.
    pub(crate) fn back(self, gradient: Tensor<3>) -> Gradients {
        match self.0 {
            Kind::Host(scalar, slot) => {
                let gradient = Host::constant(&gradient).unwrap_or_else(|| {
                    let shape = Shape::new(gradient.dims());
                    tensor(values(gradient), shape)
                });
                *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(gradient);
                scalar.backward()
            }
            Kind::Device(x) => (x * gradient).sum().backward(),
        }
    }
}

/// The gradient of the first input is that of the second, too, whatever the second's shape: nothing
/// is added to the first.
#[derive(Debug, Clone)]
struct Probe;

impl HostOperation<2> for Probe {
    type Saved = ();

    fn forward(self, [x, _leaf]: [FlexTensor; 2]) -> (FlexTensor, Self::Saved) {
        (x, ())
    }

    fn gradient(
        (): Self::Saved,
        gradient: FlexTensor,
        wanted: [bool; 2],
    ) -> [Option<FlexTensor>; 2] {
        wanted.map(|wanted| wanted.then(|| gradient.clone()))
    }
}

#[derive(Debug)]
struct Seed(Arc<Mutex<Option<FlexTensor>>>);

impl HostOperation<1> for Seed {
    type Saved = Arc<Mutex<Option<FlexTensor>>>;

    // The value is never looked at; its gradient, one, is where a backward pass starts.
    fn forward(self, [_x]: [FlexTensor; 1]) -> (FlexTensor, Self::Saved) {
        (tensor(vec![0.0], Shape::new([1])), self.0)
    }

    fn gradient(
        slot: Self::Saved,
        _one: FlexTensor,
        _wanted: [bool; 1],
    ) -> [Option<FlexTensor>; 1] {
        [slot.lock().unwrap_or_else(PoisonError::into_inner).take()]
    }
}
