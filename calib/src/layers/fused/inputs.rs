//! Inputs of linear layers rounded to a grid.

use super::elementwise::for_each_part;
use super::host::{Host, HostOperation, apply, contiguous, shape, tensor, values};
use burn::backend::flex::FlexTensor;
use burn::tensor::{Tensor, TensorData};
use quantizers::grid::InputQuantizer;

/// Each token of `x`, `[batch, tokens, inputs]`, as `quantizer` rounds it. The gradient passes as if
/// nothing were rounded.
pub(in crate::layers) fn round_inputs(quantizer: InputQuantizer, x: Tensor<3>) -> Tensor<3> {
    if let Some(host) = Host::of(&x) {
        return apply(RoundInputs(quantizer), [host]);
    }
    let (dims, device) = (x.dims(), x.device());
    let mut rounded: Vec<f32> = x.clone().detach().into_data().iter::<f32>().collect();
    quantizer.round(&mut rounded, dims[2].max(1));
    let rounded = Tensor::from_data(TensorData::new(rounded, dims), &device);
    if !device.is_autodiff() {
        return rounded;
    }
    // The difference is a constant, so that the tape sees the identity.
    let step = rounded - x.clone().detach();
    x + step
}

#[derive(Debug, Clone)]
struct RoundInputs(InputQuantizer);

impl HostOperation<1> for RoundInputs {
    type Saved = ();

    fn forward(self, [x]: [FlexTensor; 1]) -> (FlexTensor, Self::Saved) {
        let x = contiguous(x);
        let mut out = values(&x).to_vec();
        let width = shape(&x)[2].max(1);
        for_each_part(&mut out, width, |_, part| self.0.round(part, width));
        (tensor(out, shape(&x)), ())
    }

    fn gradient(
        (): Self::Saved,
        gradient: FlexTensor,
        _wanted: [bool; 1],
    ) -> [Option<FlexTensor>; 1] {
        [Some(gradient)]
    }
}
