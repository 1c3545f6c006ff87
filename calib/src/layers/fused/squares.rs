//! Sums of squared products.

use super::host::{Host, contiguous, shape, tensor, values};
use crate::hidden;
use crate::layers::kernels::squares as kernel;
use burn::backend::Flex;
use burn::tensor::{Shape, Tensor};
use quantizers::linalg::product::Strided;

/// `sum + Σ (Lᵀ R)²`, squared element by element, over the pairs `L` of `[batch, tokens, rows]` and `R` of
/// `[batch, tokens, cols]` in their order; `sum` is `[rows, cols]`, zero if there is none.
///
/// # Panics
/// The shapes do not fit together.
pub(crate) fn add_squared_products(
    sum: Option<Tensor<2>>,
    pairs: Vec<[Tensor<3>; 2]>,
) -> Option<Tensor<2>> {
    let [rows, cols] = pairs.first()?.each_ref().map(|factor| factor.dims()[2]);
    let on_host: Option<Vec<_>> = pairs
        .iter()
        .map(|[left, right]| {
            let left = contiguous(Host::constant(left)?);
            Some([left, contiguous(Host::constant(right)?)])
        })
        .collect();
    let Some(on_host) = on_host else {
        return pairs.into_iter().fold(sum, |sum, factors| {
            let [left, right] = factors.map(|factor| {
                let [batch, tokens, width] = factor.dims();
                factor.reshape([batch * tokens, width])
            });
            let square = left.transpose().matmul(right).square();
            Some(match sum {
                Some(sum) => sum + square,
                None => square,
            })
        });
    };
    let pairs: Vec<[Strided<'_>; 2]> = on_host
        .iter()
        .map(|pair| {
            pair.each_ref()
                .map(|factor| Strided::row_major(values(factor), shape(factor)[2]))
        })
        .collect();
    let mut total = match sum {
        Some(sum) => hidden::values(sum),
        None => vec![0.0; rows * cols],
    };
    kernel::add_squared_products(&pairs, &mut total);
    let total = tensor(total, Shape::new([rows, cols]));
    Some(Tensor::from_primitive::<Flex>(total))
}
