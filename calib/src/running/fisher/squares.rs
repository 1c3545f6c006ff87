//! Sums of squared weight gradients.

use crate::hidden::values;
use crate::layers::fused::add_squared_products;
use crate::running::error::CollectError;
use crate::running::measured::{Entries, Entry};
use crate::{LayerSpec, WeightGradient};
use burn::tensor::{Device, Tensor};
use quantizers::statistics::FISHER;
use rayon::prelude::*;
use std::collections::BTreeMap;

/// Sums over sequences, by layer, in checkpoint layout.
pub(super) type Squares = BTreeMap<String, Tensor<2>>;

/// Adds the squares of `gradients`, those of one layer in their order, all layers at once.
pub(super) fn add(squares: &mut Squares, gradients: Vec<WeightGradient>) {
    let mut factors: BTreeMap<String, Vec<[Tensor<3>; 2]>> = BTreeMap::new();
    for gradient in gradients {
        let layer = gradient.layer.clone();
        factors.entry(layer).or_default().push(gradient.factors());
    }
    let work: Vec<_> = factors
        .into_iter()
        .map(|(layer, factors)| {
            let sum = squares.remove(&layer);
            (layer, sum, factors)
        })
        .collect();
    let added: Vec<_> = work
        .into_par_iter()
        .filter_map(|(layer, sum, factors)| Some((layer, add_squared_products(sum, factors)?)))
        .collect();
    squares.extend(added);
}

/// Adds zeros for those of `layers` that no sequence passed through: experts that no token was sent to.
pub(super) fn complete(squares: &mut Squares, layers: &[&LayerSpec], device: &Device) {
    for layer in layers {
        let shape = if layer.transposed {
            [layer.cols, layer.rows]
        } else {
            [layer.rows, layer.cols]
        };
        let zeros = || Tensor::zeros(shape, device);
        squares.entry(layer.name.clone()).or_insert_with(zeros);
    }
}

/// The sums as they are stored.
///
/// # Errors
/// A sum that is not finite.
pub(super) fn entries(squares: Squares) -> Result<Entries, CollectError> {
    let mut entries = Entries::new();
    for (layer, sum) in squares {
        let shape = sum.dims().to_vec();
        let values = values(sum);
        if values.iter().any(|value| !value.is_finite()) {
            return Err(CollectError::Unsupported {
                statistic: FISHER.name,
                layer,
                reason: "its gradient is not finite",
            });
        }
        entries.insert(layer, Entry { shape, values });
    }
    Ok(entries)
}
