//! Squared error of a layer's outputs, from its inputs and the difference of its weights.

use crate::linalg::product::{Strided, product};
use multiversion::multiversion;

/// Partial sums of a dot product: a whole register of the widest kind.
const LANES: usize = 16;

/// Mean of the squares of `inputs · differenceᵀ`: `inputs` is `[tokens, cols]`, `difference` `[rows, cols]`.
pub(super) fn squared_error(inputs: &[f32], difference: &[f32], cols: usize) -> f64 {
    let cols = cols.max(1);
    let difference = Strided::row_major(difference, cols);
    let outputs = product(Strided::row_major(inputs, cols), difference.transposed());
    let squares = outputs
        .chunks(difference.rows().max(1))
        .map(|token| -> f64 { token.iter().map(|output| f64::from(*output).powi(2)).sum() });
    squares.sum::<f64>() / outputs.len().max(1) as f64
}

/// Sum over the rows of `inputs`, `[tokens, cols]`, of the squared product of `difference` and the columns
/// from `first` on; in the same order whatever the instructions and the number of threads.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512bw+avx512vl", "x86_64+avx2"))]
pub(super) fn sum_of_squares(inputs: &[f32], cols: usize, first: usize, difference: &[f32]) -> f64 {
    let (whole, rest) = difference.as_chunks::<LANES>();
    let mut total = 0.0;
    for input in inputs.chunks_exact(cols) {
        let (input, input_rest) = input[first..first + difference.len()].as_chunks::<LANES>();
        let mut sums = [0.0_f32; LANES];
        for (x, y) in input.iter().zip(whole) {
            for lane in 0..LANES {
                sums[lane] += x[lane] * y[lane];
            }
        }
        let tail: f32 = input_rest.iter().zip(rest).map(|(x, y)| x * y).sum();
        let dot = f64::from(sums.iter().sum::<f32>() + tail);
        total += dot * dot;
    }
    total
}

/// `X^T X` of the inputs of one group.
pub(super) struct GroupGram {
    size: usize,
    /// `[size, size]`.
    values: Vec<f32>,
}

impl GroupGram {
    /// Of the columns of `inputs`, `[tokens, cols]`, from `first` on, `size` of them.
    pub(super) fn new(inputs: &[f32], cols: usize, first: usize, size: usize) -> Self {
        let tokens = inputs.len() / cols.max(1);
        let inputs = Strided::new(&inputs[first..], tokens, size, cols, 1);
        Self {
            size,
            values: product(inputs.transposed(), inputs),
        }
    }

    /// `d^T X^T X d`: the squared product of `d` and the inputs, summed over the tokens.
    pub(super) fn form(&self, difference: &[f32]) -> f64 {
        form(&self.values, self.size, difference)
    }
}

/// `d^T G d` with a symmetric `G`.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512bw+avx512vl", "x86_64+avx2"))]
fn form(gram: &[f32], size: usize, difference: &[f32]) -> f64 {
    // Enough independent sums to hide the latency of one; sizes of groups are multiples of it.
    const LANES: usize = 32;
    let mut total = 0.0;
    let (whole, rest) = difference.as_chunks::<LANES>();
    for (at, own) in whole.iter().enumerate() {
        let mut sums = [0.0_f32; LANES];
        for (row, factor) in gram.chunks_exact(size).zip(difference) {
            let Some(row) = row[at * LANES..].first_chunk::<LANES>() else {
                continue;
            };
            for lane in 0..LANES {
                sums[lane] += factor * row[lane];
            }
        }
        let products = sums.iter().zip(own);
        total += products.map(|(sum, own)| f64::from(sum * own)).sum::<f64>();
    }
    for (at, own) in (whole.len() * LANES..).zip(rest) {
        let products = gram.chunks_exact(size).zip(difference);
        let sum: f32 = products.map(|(row, factor)| factor * row[at]).sum();
        total += f64::from(sum * own);
    }
    total
}
