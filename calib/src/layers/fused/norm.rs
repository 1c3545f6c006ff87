//! Normalisation over the last dimension.

use super::elementwise::for_each_part;
use super::host::{Host, HostOperation, apply, contiguous, shape, tensor, values};
use crate::layers::kernels::norm as kernel;
use burn::backend::flex::FlexTensor;
use burn::tensor::{Tensor, module};

/// `LayerNorm` with a bias, `RMSNorm` without: see [`NormKind`](quantizers::graph::NormKind).
pub(in crate::layers) fn norm<const D: usize>(
    x: Tensor<D>,
    weight: &Tensor<1>,
    bias: Option<&Tensor<1>>,
    epsilon: f64,
) -> Tensor<D> {
    let constants = Host::constant(weight).map(contiguous).and_then(|weight| {
        Some(Norm {
            weight,
            bias: match bias {
                Some(bias) => Some(contiguous(Host::constant(bias)?)),
                None => None,
            },
            epsilon,
        })
    });
    match (Host::of(&x), constants) {
        (Some(host), Some(operation)) => apply(operation, [host]),
        _ => unfused(x, weight, bias, epsilon),
    }
}

fn unfused<const D: usize>(
    x: Tensor<D>,
    weight: &Tensor<1>,
    bias: Option<&Tensor<1>>,
    epsilon: f64,
) -> Tensor<D> {
    match bias {
        None => {
            let mean_square = x.clone().square().mean_dim(D - 1);
            let scale = (mean_square + epsilon).sqrt().recip();
            x * scale * weight.clone().unsqueeze()
        }
        Some(bias) => module::layer_norm(x, weight.clone(), Some(bias.clone()), epsilon),
    }
}

#[derive(Debug, Clone)]
struct Norm {
    weight: FlexTensor,
    bias: Option<FlexTensor>,
    epsilon: f64,
}

impl HostOperation<1> for Norm {
    type Saved = (Self, FlexTensor);

    fn forward(self, [x]: [FlexTensor; 1]) -> (FlexTensor, Self::Saved) {
        let x = contiguous(x);
        let (input, weight) = (values(&x), values(&self.weight));
        let bias = self.bias.as_ref().map(values);
        let mut out = vec![0.0; input.len()];
        for_each_part(&mut out, weight.len(), |from, out| {
            let input = &input[from..from + out.len()];
            match bias {
                None => kernel::rms_norm(input, weight, self.epsilon, out),
                Some(bias) => kernel::layer_norm(input, weight, bias, self.epsilon, out),
            }
        });
        (tensor(out, shape(&x)), (self, x))
    }

    fn gradient(
        (norm, x): Self::Saved,
        gradient: FlexTensor,
        _wanted: [bool; 1],
    ) -> [Option<FlexTensor>; 1] {
        let gradient = contiguous(gradient);
        let (input, weight, slope) = (values(&x), values(&norm.weight), values(&gradient));
        let kernel = match norm.bias {
            None => kernel::rms_norm_gradient,
            Some(_) => kernel::layer_norm_gradient,
        };
        let mut out = vec![0.0; input.len()];
        for_each_part(&mut out, weight.len(), |from, out| {
            let part = from..from + out.len();
            kernel(
                &input[part.clone()],
                weight,
                norm.epsilon,
                &slope[part],
                out,
            );
        });
        [Some(tensor(out, shape(&x)))]
    }
}
