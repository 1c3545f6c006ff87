//! The clip search: where the grid of each group ends.

use super::product::{GroupGram, sum_of_squares};
use crate::Granularity;
use crate::graph::{BlockNode, LinearNode, QkvNode};
use crate::transforms::edit::BlockEdit;
use crate::transforms::error::TransformError;
use crate::transforms::layer_weight::LayerWeight;
use crate::transforms::runner::BlockRunner;
use rayon::prelude::*;

/// Tokens the outputs are compared on, at most.
const TOKENS: usize = 512;
/// Steps between the full range and none of it.
const STEPS: u16 = 20;
/// Steps tried, from the full range down: to just above half of it.
const TRIED: u16 = 10;

/// The layers of `block` that may be clipped: queries and keys are too sensitive.
pub(super) fn layers(block: &BlockNode) -> Vec<&LinearNode> {
    let mut layers = Vec::new();
    if let QkvNode::Separate { value, .. } = &block.attention.qkv {
        layers.push(value);
    }
    layers.push(&block.attention.output);
    layers.extend(block.mlp.linears());
    layers
}

/// Clamps each group of `layer` in `edit` to the share of its largest weight at which the outputs lose
/// least; nothing where the plan keeps the layer, or has one scale for all of it.
pub(super) fn search(
    layer: &LinearNode,
    tokens: usize,
    edit: &mut BlockEdit,
    runner: &dyn BlockRunner,
) -> Result<(), TransformError> {
    let size = match runner.granularity(&layer.name) {
        Some(Granularity::Group(size)) => size,
        Some(Granularity::Channel) => layer.cols,
        Some(Granularity::Tensor) | None => return Ok(()),
    };
    let point = layer.input_point.as_str();
    let seen = runner.run(edit, &[point], tokens)?;
    let inputs = sampled(&seen.into_iter().next().unwrap_or_default(), layer.cols);
    let mut weight = LayerWeight::read(layer, edit, runner)?;
    let exact = weight.values.clone();
    let mut best = exact.clone();
    let cols = layer.cols;
    let errors = Errors::new(&inputs, cols, size);
    let mut least = vec![f64::INFINITY; exact.len() / cols.max(1) * cols.div_ceil(size)];
    for step in 0..TRIED {
        let share = 1.0 - f32::from(step) / f32::from(STEPS);
        weight.values = clamped(&exact, cols, size, share);
        let rounded = runner.quantize(&layer.name, weight.matrix(layer)?)?;
        let errors = errors.of(&exact, &rounded);
        let rows = best.chunks_exact_mut(cols);
        let groups = rows.flat_map(|row| row.chunks_mut(size)).zip(&mut least);
        let tried = weight.values.chunks_exact(cols);
        let tried = tried.flat_map(|row| row.chunks(size));
        for ((group, least), (error, tried)) in groups.zip(errors.iter().zip(tried)) {
            if *error < *least {
                *least = *error;
                group.copy_from_slice(tried);
            }
        }
    }
    if best != exact {
        weight.values = best;
        weight.write(layer, edit);
    }
    Ok(())
}

/// Every group clamped to `share` of its largest magnitude; the last group of a row may be shorter.
fn clamped(values: &[f32], cols: usize, size: usize, share: f32) -> Vec<f32> {
    let mut clamped = values.to_vec();
    let rows = clamped.chunks_exact_mut(cols);
    for group in rows.flat_map(|row| row.chunks_mut(size)) {
        let most = group
            .iter()
            .fold(0.0_f32, |most, value| most.max(value.abs()))
            * share;
        for value in group {
            *value = value.clamp(-most, most);
        }
    }
    clamped
}

/// At most [`TOKENS`] rows, evenly spread.
fn sampled(inputs: &[f32], cols: usize) -> Vec<f32> {
    let rows = inputs.len() / cols.max(1);
    let step = (rows / TOKENS).max(1);
    let rows = inputs.chunks_exact(cols.max(1)).step_by(step).take(TOKENS);
    rows.flatten().copied().collect()
}

/// Squared error of each group's share of its output, over all tokens.
///
/// A group's error is a quadratic form of its difference: with more tokens than weights in a group, the matrix of
/// the form is made once for all rows and steps.
struct Errors<'a> {
    inputs: &'a [f32],
    cols: usize,
    size: usize,
    /// One for each group; empty where the tokens themselves are fewer.
    grams: Vec<GroupGram>,
}

impl<'a> Errors<'a> {
    fn new(inputs: &'a [f32], cols: usize, size: usize) -> Self {
        let tokens = inputs.len() / cols.max(1);
        let groups = if size < tokens {
            cols.div_ceil(size)
        } else {
            0
        };
        let grams = (0..groups)
            .into_par_iter()
            .map(|group| GroupGram::new(inputs, cols, group * size, size.min(cols - group * size)))
            .collect();
        Self {
            inputs,
            cols,
            size,
            grams,
        }
    }

    /// `[rows, groups]`.
    fn of(&self, exact: &[f32], rounded: &[f32]) -> Vec<f64> {
        let of_row = |(exact, rounded): (&[f32], &[f32])| -> Vec<f64> {
            let difference: Vec<f32> = rounded.iter().zip(exact).map(|(a, b)| a - b).collect();
            let groups = difference.chunks(self.size).enumerate();
            groups
                .map(|(group, difference)| match self.grams.get(group) {
                    Some(gram) => gram.form(difference),
                    None => sum_of_squares(self.inputs, self.cols, group * self.size, difference),
                })
                .collect()
        };
        let rows = exact
            .par_chunks_exact(self.cols)
            .zip(rounded.par_chunks_exact(self.cols));
        let errors: Vec<Vec<f64>> = rows.map(of_row).collect();
        errors.concat()
    }
}

#[cfg(test)]
mod tests {
    use super::{Errors, clamped};

    #[test]
    fn a_shorter_last_group_ends_with_its_row() {
        // Two rows of five in groups of two, two and one.
        let exact = [1.0, -4.0, 2.0, 3.0, 8.0, 0.5, 0.25, -6.0, 1.0, 16.0];
        let half = clamped(&exact, 5, 2, 0.5);
        assert_eq!(half, [1.0, -2.0, 1.5, 1.5, 4.0, 0.25, 0.25, -3.0, 1.0, 8.0]);
        let inputs = [1.0, 2.0, 0.5, -1.0, 3.0, 0.0, 1.0, 4.0, 2.0, -1.0];
        let found = Errors::new(&inputs, 5, 2).of(&exact, &half);
        // Differences (0, 2, -0.5, -1.5, -4) and (-0.25, 0, 3, 0, -8) against both inputs.
        let expected: [f64; 6] = [
            4.0f64.powi(2) + 2.0f64.powi(2),
            1.25f64.powi(2) + 5.0f64.powi(2),
            12.0f64.powi(2) + 4.0f64.powi(2),
            0.25f64.powi(2),
            1.5f64.powi(2) + 12.0f64.powi(2),
            24.0f64.powi(2) + 8.0f64.powi(2),
        ];
        assert_eq!(found.len(), 6);
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-9, "{found} {expected}");
        }
        // With as many tokens as weights in a group the form is used: the same tokens twice, twice the error.
        let twice = [inputs, inputs].concat();
        let form = Errors::new(&twice, 5, 2).of(&exact, &half);
        for (form, expected) in form.iter().zip(expected) {
            assert!((form - 2.0 * expected).abs() < 1e-4, "{form} {expected}");
        }
    }
}
