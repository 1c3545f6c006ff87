//! Squared error of a layer's outputs, from its inputs and the difference of its weights.

use rayon::prelude::*;

/// Partial sums of a dot product, so that the compiler can use whole registers.
const LANES: usize = 16;

/// Mean of the squares of `inputs · differenceᵀ`: `inputs` is `[tokens, cols]`, `difference` `[rows, cols]`.
pub(super) fn squared_error(inputs: &[f32], difference: &[f32], cols: usize) -> f64 {
    let cols = cols.max(1);
    let rows: Vec<f64> = difference
        .par_chunks_exact(cols)
        .map(|row| {
            inputs
                .chunks_exact(cols)
                .map(|input| f64::from(dot(input, row)).powi(2))
                .sum()
        })
        .collect();
    let count = rows.len() * (inputs.len() / cols);
    rows.iter().sum::<f64>() / count.max(1) as f64
}

/// `a · b`, in the same order whatever the number of threads.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; LANES];
    let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = a_chunks.remainder().iter().zip(b_chunks.remainder());
    let tail: f32 = rest.map(|(x, y)| x * y).sum();
    for (x, y) in a_chunks.zip(b_chunks) {
        for lane in 0..LANES {
            sums[lane] += x[lane] * y[lane];
        }
    }
    sums.iter().sum::<f32>() + tail
}
