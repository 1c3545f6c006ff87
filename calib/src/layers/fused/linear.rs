//! Linear layers.

use super::host::{Host, HostOperation, apply, contiguous, shape, tensor, values};
use super::strided::{matrix, viewable};
use crate::hidden::values as all_values;
use crate::layers::Constant;
use crate::layers::kernels::rows::add_to_rows;
use crate::layers::weight::{DenseWeight, Weight};
use burn::backend::flex::FlexTensor;
use burn::tensor::{Shape, Tensor, TensorData, module};
use quantizers::kernels::PackedMatrix;
use quantizers::linalg::product::{Strided, add_product, product};
use quantizers::scratch::Scratch;

/// `x W + b` for `x` of `[batch, tokens, inputs]`.
pub(in crate::layers) fn linear(
    x: Tensor<3>,
    weight: &Weight,
    bias: Option<&Constant<1>>,
) -> Tensor<3> {
    let [texts, tokens, _] = x.dims();
    match weight {
        // Tokens of several texts are to come out as each does alone.
        Weight::Dense(dense) if !dense.keeps_rows_apart || tokens > 1 || texts == 1 => {
            if let (Some(x), Some(operation)) = (Host::of(&x), Linear::new(dense, bias)) {
                return apply(operation, [x]);
            }
            module::linear(x, dense.columns.clone(), tensor_of(bias))
        }
        _ => {
            let device = x.device();
            let out = linear_of_rows(&all_values(x), weight, bias);
            let outputs = out.len() / (texts * tokens).max(1);
            Tensor::from_data(
                TensorData::new(out.into_vec(), [texts, tokens, outputs]),
                &device,
            )
        }
    }
}

/// The same of rows `[n, inputs]` in host memory, to `[n, outputs]`.
pub(in crate::layers) fn linear_of_rows(
    x: &[f32],
    weight: &Weight,
    bias: Option<&Constant<1>>,
) -> Scratch<f32> {
    match weight {
        Weight::Packed(matrix) => biased(matrix.multiply(x), bias),
        Weight::Dense(dense) => {
            let inputs = dense.columns.dims()[0].max(1);
            let at_once = if dense.keeps_rows_apart {
                inputs
            } else {
                x.len().max(1)
            };
            let mut parts = x.chunks(at_once).map(|x| times(x, inputs, dense, bias));
            let mut all = parts.next().unwrap_or_default();
            parts.for_each(|part| all.extend_from_slice(&part));
            all.into()
        }
    }
}

/// The same by several layers.
pub(in crate::layers) fn linear_of_each<const N: usize>(
    x: &[f32],
    layers: [(&Weight, Option<&Constant<1>>); N],
) -> [Scratch<f32>; N] {
    let is_packed = |(weight, _): &(&Weight, _)| matches!(weight, Weight::Packed(_));
    if !layers.iter().all(is_packed) {
        return layers.map(|(weight, bias)| linear_of_rows(x, weight, bias));
    }
    let matrices = layers.map(|(weight, _)| match weight {
        Weight::Packed(matrix) => matrix.as_ref(),
        Weight::Dense(_) => unreachable!("all of them are packed"),
    });
    let mut biases = layers.iter().map(|(_, bias)| *bias);
    PackedMatrix::multiply_each(matrices, x).map(|out| biased(out, biases.next().flatten()))
}

fn biased(mut out: Scratch<f32>, bias: Option<&Constant<1>>) -> Scratch<f32> {
    if let Some(bias) = bias {
        add_to_rows(bias.values(), &mut out);
    }
    out
}

fn tensor_of(bias: Option<&Constant<1>>) -> Option<Tensor<1>> {
    bias.map(|bias| bias.tensor().clone())
}

/// `x W + b` of rows with a matrix of values, where these are.
fn times(x: &[f32], inputs: usize, weight: &DenseWeight, bias: Option<&Constant<1>>) -> Vec<f32> {
    let columns = &weight.columns;
    let Some(host) = Host::constant(columns).map(viewable) else {
        let rows = TensorData::new(x.to_vec(), [1, x.len() / inputs, inputs]);
        let rows = Tensor::<3>::from_data(rows, &columns.device());
        return all_values(module::linear(rows, columns.clone(), tensor_of(bias)));
    };
    product_of_rows(x, matrix(&host), bias.map(Constant::values))
}

fn product_of_rows(x: &[f32], columns: Strided<'_>, bias: Option<&[f32]>) -> Vec<f32> {
    let rows = Strided::row_major(x, columns.rows());
    match bias {
        Some(bias) => {
            let mut out = bias.repeat(rows.rows());
            add_product(rows, columns, &mut out);
            out
        }
        None => product(rows, columns),
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
    fn new(weight: &DenseWeight, bias: Option<&Constant<1>>) -> Option<Self> {
        Some(Self {
            columns: viewable(Host::constant(&weight.columns)?),
            rows: match &weight.rows {
                Some(rows) => Some(viewable(Host::constant(rows)?)),
                None => None,
            },
            bias: match bias {
                Some(bias) => Some(contiguous(Host::constant(bias.tensor())?)),
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
        let out = product_of_rows(values(&x), columns, self.bias.as_ref().map(values));
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
