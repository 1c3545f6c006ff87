//! Rotary position embedding.

use super::host::{Host, HostOperation, apply, contiguous, shape, tensor, values};
use super::strided::{heads, viewable};
use crate::layers::kernels::rotary as kernel;
use burn::backend::flex::FlexTensor;
use burn::tensor::Tensor;
use rayon::prelude::*;

/// Rotates `[batch, heads, tokens, head_dim]` by angles whose cosines and sines are
/// `[1, 1, tokens, head_dim]`, the same in both halves.
pub(in crate::layers) fn rotate(x: Tensor<4>, cos: &Tensor<4>, sin: &Tensor<4>) -> Tensor<4> {
    let tables = [cos, sin].map(|table| Host::constant(table).map(contiguous));
    match (Host::of(&x), tables) {
        (Some(host), [Some(cos), Some(sin)]) => apply(Rotate { cos, sin }, [host]),
        _ => unfused(x, cos, sin),
    }
}

fn unfused(x: Tensor<4>, cos: &Tensor<4>, sin: &Tensor<4>) -> Tensor<4> {
    let half = x.dims()[3] / 2;
    let first = x.clone().narrow(3, 0, half);
    let second = x.clone().narrow(3, half, half);
    let rotated = Tensor::cat(vec![second.neg(), first], 3);
    x * cos.clone() + rotated * sin.clone()
}

#[derive(Debug, Clone)]
struct Rotate {
    cos: FlexTensor,
    sin: FlexTensor,
}

impl Rotate {
    fn run(&self, x: FlexTensor, inverse: bool) -> FlexTensor {
        let x = viewable(x);
        let views = heads(&x);
        let (cos, sin) = (values(&self.cos), values(&self.sin));
        let head = views.first().map_or(0, |view| view.rows() * view.cols());
        let mut out = vec![0.0; views.len() * head];
        out.par_chunks_mut(head.max(1))
            .zip(&views)
            .for_each(|(out, view)| kernel::rotate(*view, cos, sin, inverse, out));
        tensor(out, shape(&x))
    }
}

impl HostOperation<1> for Rotate {
    type Saved = Self;

    fn forward(self, [x]: [FlexTensor; 1]) -> (FlexTensor, Self::Saved) {
        (self.run(x, false), self)
    }

    fn gradient(
        rotation: Self::Saved,
        gradient: FlexTensor,
        _wanted: [bool; 1],
    ) -> [Option<FlexTensor>; 1] {
        [Some(rotation.run(gradient, true))]
    }
}
