//! Linear layers.

use super::host::{Host, HostOperation, apply, contiguous, shape, tensor, values};
use super::strided::{matrix, viewable};
use crate::layers::kernels::product::{Strided, multiply_parallel};
use crate::layers::weight::Weight;
use burn::backend::flex::FlexTensor;
use burn::tensor::{Shape, Tensor, module};

/// `x W + b` for `x` of `[batch, tokens, inputs]`.
pub(in crate::layers) fn linear(
    x: Tensor<3>,
    weight: &Weight,
    bias: Option<&Tensor<1>>,
) -> Tensor<3> {
    if let (Some(x), Some(operation)) = (Host::of(&x), Linear::new(weight, bias)) {
        return apply(operation, [x]);
    }
    module::linear(x, weight.columns.clone(), bias.cloned())
}

#[derive(Debug, Clone)]
struct Linear {
    /// `[inputs, outputs]`.
    columns: FlexTensor,
    /// `[outputs, inputs]`.
    rows: Option<FlexTensor>,
    bias: Option<FlexTensor>,
}

impl Linear {
    /// `None` if not all is in host memory and without gradients.
    fn new(weight: &Weight, bias: Option<&Tensor<1>>) -> Option<Self> {
        Some(Self {
            columns: viewable(Host::constant(&weight.columns)?),
            rows: match &weight.rows {
                Some(rows) => Some(viewable(Host::constant(rows)?)),
                None => None,
            },
            bias: match bias {
                Some(bias) => Some(contiguous(Host::constant(bias)?)),
                None => None,
            },
        })
    }
}

impl HostOperation<1> for Linear {
    /// Shape of the input.
    type Saved = Shape;

    fn forward(&self, [x]: [FlexTensor; 1]) -> (FlexTensor, Self::Saved) {
        let x = contiguous(x);
        let columns = matrix(&self.columns);
        let rows = Strided::row_major(values(&x), columns.rows());
        let mut out = match &self.bias {
            Some(bias) => values(bias).repeat(rows.rows()),
            None => vec![0.0; rows.rows() * columns.cols()],
        };
        multiply_parallel(rows, columns, &mut out, self.bias.is_some());
        let [batch, tokens] = [shape(&x)[0], shape(&x)[1]];
        let out = tensor(out, Shape::new([batch, tokens, columns.cols()]));
        (out, shape(&x))
    }

    fn gradient(
        &self,
        input: Self::Saved,
        gradient: FlexTensor,
        _wanted: [bool; 1],
    ) -> [Option<FlexTensor>; 1] {
        let gradient = contiguous(gradient);
        let rows = match &self.rows {
            Some(rows) => matrix(rows),
            None => matrix(&self.columns).transposed(),
        };
        let slopes = Strided::row_major(values(&gradient), rows.rows());
        let mut out = vec![0.0; slopes.rows() * rows.cols()];
        multiply_parallel(slopes, rows, &mut out, false);
        [Some(tensor(out, input))]
    }
}
