//! Linear layers.

use super::host::{Host, HostOperation, apply, contiguous, shape, tensor, values};
use super::strided::{matrix, viewable};
use crate::layers::kernels::product::{Strided, multiply_parallel};
use burn::backend::flex::FlexTensor;
use burn::tensor::{Shape, Tensor, module};

/// `x Wᵀ + b` for `x` of `[batch, tokens, in]`; `weight` is `[out, in]`, or `[in, out]` if `transposed`.
pub(in crate::layers) fn linear(
    x: Tensor<3>,
    weight: &Tensor<2>,
    transposed: bool,
    bias: Option<&Tensor<1>>,
) -> Tensor<3> {
    let constant = match bias {
        None => Some(None),
        Some(bias) => Host::constant(bias).map(contiguous).map(Some),
    };
    if let (Some(x), Some(weight), Some(bias)) = (Host::of(&x), Host::of(weight), constant) {
        return apply(Linear { transposed, bias }, [x, weight]);
    }
    let weight = weight.clone();
    let weight = if transposed {
        weight
    } else {
        weight.transpose()
    };
    module::linear(x, weight, bias.cloned())
}

#[derive(Debug, Clone)]
struct Linear {
    transposed: bool,
    bias: Option<FlexTensor>,
}

impl Linear {
    /// The weight as `[in, out]`.
    fn columns<'a>(&self, weight: &'a FlexTensor) -> Strided<'a> {
        if self.transposed {
            matrix(weight)
        } else {
            matrix(weight).transposed()
        }
    }
}

impl HostOperation<2> for Linear {
    type Saved = [FlexTensor; 2];

    fn forward(&self, [x, weight]: [FlexTensor; 2]) -> (FlexTensor, Self::Saved) {
        let (x, weight) = (contiguous(x), viewable(weight));
        let columns = self.columns(&weight);
        let rows = Strided::row_major(values(&x), columns.rows());
        let mut out = match &self.bias {
            Some(bias) => values(bias).repeat(rows.rows()),
            None => vec![0.0; rows.rows() * columns.cols()],
        };
        multiply_parallel(rows, columns, &mut out, self.bias.is_some());
        let [batch, tokens] = [shape(&x)[0], shape(&x)[1]];
        let out = tensor(out, Shape::new([batch, tokens, columns.cols()]));
        (out, [x, weight])
    }

    fn gradient(
        &self,
        [x, weight]: Self::Saved,
        gradient: FlexTensor,
        wanted: [bool; 2],
    ) -> [Option<FlexTensor>; 2] {
        let gradient = contiguous(gradient);
        let columns = self.columns(&weight);
        let inputs = Strided::row_major(values(&x), columns.rows());
        let slopes = Strided::row_major(values(&gradient), columns.cols());
        let product = |left: Strided<'_>, right: Strided<'_>, shape: Shape| {
            let mut out = vec![0.0; left.rows() * right.cols()];
            multiply_parallel(left, right, &mut out, false);
            tensor(out, shape)
        };
        [
            wanted[0].then(|| product(slopes, columns.transposed(), shape(&x))),
            wanted[1].then(|| {
                let (left, right) = if self.transposed {
                    (inputs, slopes)
                } else {
                    (slopes, inputs)
                };
                product(left.transposed(), right, shape(&weight))
            }),
        ]
    }
}
