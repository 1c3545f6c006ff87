//! Activations and gates.

use super::elementwise::{for_each_part, for_each_part_of_two};
use super::host::{Host, HostOperation, apply, contiguous, shape, tensor, values};
use crate::layers::activation::unfused;
use crate::layers::kernels::activation as kernel;
use burn::backend::flex::FlexTensor;
use burn::tensor::Tensor;
use quantizers::graph::Activation;

/// `f(x)`, element by element.
pub(in crate::layers) fn activate<const D: usize>(
    activation: Activation,
    x: Tensor<D>,
) -> Tensor<D> {
    match Host::of(&x) {
        Some(host) => {
            drop(x);
            apply(Activate(activation), [host])
        }
        None => unfused(activation, x),
    }
}

/// `f(gate) · up`, element by element.
pub(in crate::layers) fn gate<const D: usize>(
    activation: Activation,
    gate: Tensor<D>,
    up: Tensor<D>,
) -> Tensor<D> {
    match (Host::of(&gate), Host::of(&up)) {
        (Some(gate), Some(up)) => apply(Gate(activation), [gate, up]),
        _ => unfused(activation, gate) * up,
    }
}

#[derive(Debug, Clone)]
struct Activate(Activation);

impl HostOperation<1> for Activate {
    type Saved = (Activation, FlexTensor);

    fn forward(self, [x]: [FlexTensor; 1]) -> (FlexTensor, Self::Saved) {
        let x = contiguous(x);
        let input = values(&x);
        let mut out = vec![0.0; input.len()];
        for_each_part(&mut out, 1, |from, out| {
            kernel::activate(self.0, &input[from..from + out.len()], out);
        });
        (tensor(out, shape(&x)), (self.0, x))
    }

    fn gradient(
        (activation, x): Self::Saved,
        gradient: FlexTensor,
        _wanted: [bool; 1],
    ) -> [Option<FlexTensor>; 1] {
        let gradient = contiguous(gradient);
        let (input, slope) = (values(&x), values(&gradient));
        let mut out = vec![0.0; input.len()];
        for_each_part(&mut out, 1, |from, out| {
            let part = from..from + out.len();
            kernel::activate_gradient(activation, &input[part.clone()], &slope[part], out);
        });
        [Some(tensor(out, shape(&x)))]
    }
}

#[derive(Debug, Clone)]
struct Gate(Activation);

impl HostOperation<2> for Gate {
    type Saved = (Activation, [FlexTensor; 2]);

    fn forward(self, inputs: [FlexTensor; 2]) -> (FlexTensor, Self::Saved) {
        let inputs = inputs.map(contiguous);
        let [gate, up] = inputs.each_ref().map(values);
        let mut out = vec![0.0; gate.len()];
        for_each_part(&mut out, 1, |from, out| {
            let part = from..from + out.len();
            kernel::gate(self.0, &gate[part.clone()], &up[part], out);
        });
        (tensor(out, shape(&inputs[0])), (self.0, inputs))
    }

    fn gradient(
        (activation, inputs): Self::Saved,
        gradient: FlexTensor,
        _wanted: [bool; 2],
    ) -> [Option<FlexTensor>; 2] {
        let gradient = contiguous(gradient);
        let [gate, up] = inputs.each_ref().map(values);
        let slope = values(&gradient);
        let (mut gate_out, mut up_out) = (vec![0.0; gate.len()], vec![0.0; up.len()]);
        for_each_part_of_two(&mut gate_out, &mut up_out, |from, gate_out, up_out| {
            let part = from..from + gate_out.len();
            kernel::gate_gradient(
                activation,
                &gate[part.clone()],
                &up[part.clone()],
                &slope[part],
                gate_out,
                up_out,
            );
        });
        [gate_out, up_out].map(|out| Some(tensor(out, shape(&gradient))))
    }
}
