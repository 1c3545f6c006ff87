//! Sums of squared weight gradients.

use crate::WeightGradient;
use crate::layers::fused::add_squared_products;
use burn::tensor::Tensor;
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
