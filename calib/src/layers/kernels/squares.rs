//! Sums of squared products, a tile of the result at a time.

use multiversion::multiversion;
use quantizers::linalg::product::{Strided, multiply};
use rayon::prelude::*;

/// Values of the result one task makes: the product before it is squared and the sum stay in a
/// core's cache, and the right factor, prepared anew by each task, weighs little against the rows.
const TASK: usize = 1 << 17;

/// `sum += (Lᵀ R)²` element by element for each pair `[L, R]` of `[depth, rows]` and `[depth, cols]`, in
/// their order; `sum` is `[rows, cols]`, contiguous.
///
/// # Panics
/// The shapes do not fit together.
pub fn add_squared_products(pairs: &[[Strided<'_>; 2]], sum: &mut [f32]) {
    let Some([left, right]) = pairs.first() else {
        return;
    };
    let (rows, cols) = (left.cols(), right.cols());
    assert_eq!(sum.len(), rows * cols, "size of the sum");
    if cols == 0 {
        return;
    }
    let tile_rows = (TASK / cols).clamp(1, rows);
    // Tiles of nearly equal size.
    let tile_rows = rows.div_ceil(rows.div_ceil(tile_rows));
    sum.par_chunks_mut(tile_rows * cols)
        .enumerate()
        .for_each_init(Vec::new, |product, (tile, sum)| {
            product.resize(sum.len(), 0.0);
            let from = tile * tile_rows;
            for [left, right] in pairs {
                let rows = left.transposed().slice_rows(from, from + sum.len() / cols);
                multiply(rows, *right, product, cols, false);
                add_squares(product, sum);
            }
        });
}

#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2"))]
fn add_squares(values: &[f32], sum: &mut [f32]) {
    for (sum, value) in sum.iter_mut().zip(values) {
        *sum += value * value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Several tiles; the right factor's rows are part of a longer one.
    #[test]
    fn equals_the_definition_whatever_was_there_before() {
        let (depth, rows, cols) = (9, 700, 500);
        let wave = |length: usize, frequency: f32| -> Vec<f32> {
            (0..length).map(|i| (i as f32 * frequency).sin()).collect()
        };
        let lefts = [wave(depth * rows, 0.37), wave(depth * rows, 0.71)];
        let rights = [wave(depth * 2 * cols, 0.91), wave(depth * 2 * cols, 1.3)];
        let pairs = [0, 1].map(|which: usize| {
            let left = Strided::row_major(&lefts[which], rows);
            [left, Strided::new(&rights[which], depth, cols, 2 * cols, 1)]
        });
        let mut sum = vec![0.5; rows * cols];
        add_squared_products(&pairs, &mut sum);
        for (index, found) in sum.iter().enumerate().step_by(17) {
            let product = |which: usize| -> f64 {
                (0..depth)
                    .map(|k| {
                        f64::from(lefts[which][k * rows + index / cols])
                            * f64::from(rights[which][k * 2 * cols + index % cols])
                    })
                    .sum()
            };
            let expected = 0.5 + product(0).powi(2) + product(1).powi(2);
            assert!((f64::from(*found) - expected).abs() < 1e-5 * expected);
        }
    }
}
