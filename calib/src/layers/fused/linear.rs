//! Linear layers.

use super::host::{Host, HostOperation, apply, contiguous, shape, tensor, values};
use super::strided::{matrix, viewable};
use crate::hidden::values as host_values;
use crate::layers::weight::{DenseWeight, Weight};
use burn::backend::flex::FlexTensor;
use burn::tensor::{Shape, Tensor, TensorData, module};
use quantizers::kernels::PackedMatrix;
use quantizers::linalg::product::{Strided, add_product, product};

/// `x W + b` for `x` of `[batch, tokens, inputs]`.
pub(in crate::layers) fn linear(
    x: Tensor<3>,
    weight: &Weight,
    bias: Option<&Tensor<1>>,
) -> Tensor<3> {
    let weight = match weight {
        Weight::Packed(matrix) => return packed(x, matrix, bias),
        Weight::Dense(weight) => weight,
    };
    let [texts, tokens, _] = x.dims();
    if weight.keeps_rows_apart && tokens == 1 && texts > 1 {
        let rows = (0..texts).map(|at| dense(x.clone().narrow(0, at, 1), weight, bias));
        return Tensor::cat(rows.collect(), 0);
    }
    dense(x, weight, bias)
}

fn dense(x: Tensor<3>, weight: &DenseWeight, bias: Option<&Tensor<1>>) -> Tensor<3> {
    if let (Some(x), Some(operation)) = (Host::of(&x), Linear::new(weight, bias)) {
        return apply(operation, [x]);
    }
    module::linear(x, weight.columns.clone(), bias.cloned())
}

/// The same with a matrix that is multiplied as it is stored, by the values of `x` in host memory.
fn packed(x: Tensor<3>, matrix: &PackedMatrix, bias: Option<&Tensor<1>>) -> Tensor<3> {
    let [batch, tokens, _] = x.dims();
    let device = x.device();
    let out = matrix.multiply(&host_values(x));
    let data = TensorData::new(out, [batch, tokens, matrix.rows()]);
    let out = Tensor::from_data(data, &device);
    match bias {
        Some(bias) => out + bias.clone().unsqueeze::<3>(),
        None => out,
    }
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
    fn new(weight: &DenseWeight, bias: Option<&Tensor<1>>) -> Option<Self> {
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

/// What a gradient is sent back with.
#[derive(Debug, Clone)]
struct Back {
    weight: FlexTensor,
    /// `weight` is `[inputs, outputs]`.
    is_by_input: bool,
    /// Of the layer's input.
    shape: Shape,
}

impl HostOperation<1> for Linear {
    type Saved = Back;

    fn forward(self, [x]: [FlexTensor; 1]) -> (FlexTensor, Self::Saved) {
        let x = contiguous(x);
        let columns = matrix(&self.columns);
        let rows = Strided::row_major(values(&x), columns.rows());
        let out = match &self.bias {
            Some(bias) => {
                let mut out = values(bias).repeat(rows.rows());
                add_product(rows, columns, &mut out);
                out
            }
            None => product(rows, columns),
        };
        let [batch, tokens] = [shape(&x)[0], shape(&x)[1]];
        let out = tensor(out, Shape::new([batch, tokens, columns.cols()]));
        let is_by_input = self.rows.is_none();
        let back = Back {
            weight: self.rows.unwrap_or(self.columns),
            is_by_input,
            shape: shape(&x),
        };
        (out, back)
    }

    fn gradient(
        back: Self::Saved,
        gradient: FlexTensor,
        _wanted: [bool; 1],
    ) -> [Option<FlexTensor>; 1] {
        let gradient = contiguous(gradient);
        let rows = if back.is_by_input {
            matrix(&back.weight).transposed()
        } else {
            matrix(&back.weight)
        };
        let slopes = Strided::row_major(values(&gradient), rows.rows());
        [Some(tensor(product(slopes, rows), back.shape))]
    }
}
