//! Hessians weighted with squared output gradients.

use super::{GradientAccumulator, GradientObserver};
use crate::hidden::values;
use crate::running::measured::Entry;
use crate::{LayerSpec, WeightGradient};
use quantizers::linalg::product::{Strided, multiply};
use quantizers::statistics::{Statistic, guided_hessian, rows_of_group};
use rayon::prelude::*;

/// Rows of a Hessian that are one task; a constant, so that the number of threads changes no bit.
const PANEL: usize = 128;
/// What gradients are multiplied by, so that their squares stay within f32.
const GRADIENT_SCALE: f64 = 1e3;

/// `X^T diag(g^2) X` for so many groups of rows ([`quantizers::statistics::guided_hessian`]). f32 within a sequence, f64
/// across sequences.
pub(super) struct GuidedHessian(pub(super) usize);

impl GradientObserver for GuidedHessian {
    fn statistic(&self) -> &'static Statistic {
        match guided_hessian(self.0) {
            Some(statistic) => statistic,
            None => unreachable!("registered for numbers of groups that are measured"),
        }
    }

    fn start(&self, layer: &LayerSpec) -> Box<dyn GradientAccumulator> {
        Box::new(Moments {
            groups: self.0,
            rows: layer.rows,
            cols: layer.cols,
            sums: vec![0.0; self.0 * layer.cols * layer.cols],
        })
    }
}

struct Moments {
    groups: usize,
    rows: usize,
    cols: usize,
    /// `[groups, cols, cols]`, above the diagonal only.
    sums: Vec<f64>,
}

impl Moments {
    /// What each token counts in each group, `[groups, tokens]`: the mean of its rows' squared gradients.
    #[expect(clippy::cast_possible_truncation, reason = "products are in f32")]
    fn weights(&self, gradients: &[f32]) -> Vec<f32> {
        let tokens = gradients.chunks(self.rows.max(1));
        let mut weights = Vec::with_capacity(self.groups * tokens.len());
        for group in 0..self.groups {
            let rows = rows_of_group(group, self.groups, self.rows);
            weights.extend(tokens.clone().map(|token| {
                let squares = token[rows.clone()].iter().map(|g| f64::from(*g).powi(2));
                let mean = squares.sum::<f64>() / rows.len().max(1) as f64;
                (GRADIENT_SCALE.powi(2) * mean) as f32
            }));
        }
        weights
    }
}

impl GradientAccumulator for Moments {
    fn add(&mut self, gradients: &[WeightGradient]) {
        let cols = self.cols;
        if cols == 0 {
            return;
        }
        for gradient in gradients {
            let inputs = values(gradient.input.clone());
            let weights = self.weights(&values(gradient.output_gradient.clone()));
            let tokens = inputs.len() / cols;
            let of_groups = self.sums.par_chunks_mut(cols * cols);
            of_groups.enumerate().for_each(|(group, sums)| {
                let weights = &weights[group * tokens..(group + 1) * tokens];
                let panels = sums.par_chunks_mut(PANEL * cols).enumerate();
                panels.for_each(|(panel, sums)| {
                    add_panel(&inputs, weights, cols, panel * PANEL, sums);
                });
            });
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "statistics are stored as f32"
    )]
    fn finish(self: Box<Self>) -> Entry {
        let (groups, cols) = (self.groups, self.cols);
        let mut values: Vec<f32> = self.sums.iter().map(|sum| *sum as f32).collect();
        for hessian in values.chunks_mut((cols * cols).max(1)) {
            for row in 0..cols {
                for col in 0..row {
                    hessian[row * cols + col] = hessian[col * cols + row];
                }
            }
        }
        Entry {
            shape: vec![groups, cols, cols],
            values,
        }
    }
}

/// Adds rows `from ..` of `X^T diag(weights) X`, from the diagonal on, to `sums` `[_, cols]`.
fn add_panel(inputs: &[f32], weights: &[f32], cols: usize, from: usize, sums: &mut [f64]) {
    let (height, width) = (sums.len() / cols, cols - from);
    let mut weighted = Vec::with_capacity(weights.len() * height);
    for (token, weight) in inputs.chunks(cols).zip(weights) {
        weighted.extend(token[from..from + height].iter().map(|x| weight * x));
    }
    let mut product = vec![0.0; height * width];
    let left = Strided::row_major(&weighted, height).transposed();
    let right = Strided::new(&inputs[from..], weights.len(), width, cols, 1);
    multiply(left, right, &mut product, width, false);
    for (sums, product) in sums.chunks_mut(cols).zip(product.chunks(width)) {
        for (sum, value) in sums[from..].iter_mut().zip(product) {
            *sum += f64::from(*value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, Tensor, TensorData};

    fn tensor(values: &[f32], width: usize) -> Tensor<3> {
        let shape = [1, values.len() / width, width];
        Tensor::from_data(TensorData::new(values.to_vec(), shape), &Device::flex())
    }

    #[test]
    fn equals_the_definition_over_several_sequences_and_panels() {
        let (rows, cols, groups) = (3, PANEL + 5, 2);
        let mut moments = Box::new(Moments {
            groups,
            rows,
            cols,
            sums: vec![0.0; groups * cols * cols],
        });
        let wave = |length: usize, frequency: f32| -> Vec<f32> {
            (0..length)
                .map(|at| (at as f32 * frequency).sin())
                .collect()
        };
        let mut expected = vec![0.0_f64; groups * cols * cols];
        let mut gradients = Vec::new();
        for (tokens, frequency) in [(4, 0.37), (7, 0.91)] {
            let inputs = wave(tokens * cols, frequency);
            let outputs = wave(tokens * rows, frequency + 0.1);
            for group in 0..groups {
                let of_group = rows_of_group(group, groups, rows);
                for token in 0..tokens {
                    let squares = of_group.clone().map(|row| {
                        let gradient = 1e3 * f64::from(outputs[token * rows + row]);
                        gradient * gradient
                    });
                    let mean = squares.sum::<f64>() / of_group.len() as f64;
                    let x = |col: usize| f64::from(inputs[token * cols + col]);
                    for row in 0..cols {
                        for col in 0..cols {
                            expected[(group * cols + row) * cols + col] += mean * x(row) * x(col);
                        }
                    }
                }
            }
            gradients.push(WeightGradient {
                layer: "layer".to_owned(),
                input: tensor(&inputs, cols),
                output_gradient: tensor(&outputs, rows),
                transposed: false,
            });
        }
        moments.add(&gradients[..1]);
        moments.add(&gradients[1..]);
        let found = (moments as Box<dyn GradientAccumulator>).finish();
        assert_eq!(found.shape, [groups, cols, cols]);
        let largest = expected.iter().fold(0.0, |most: f64, v| most.max(v.abs()));
        for (found, expected) in found.values.iter().zip(expected) {
            let off = (f64::from(*found) - expected).abs();
            assert!(off < 1e-6 * largest, "{found} {expected}");
        }
    }
}
