//! Fast Walsh-Hadamard transforms of blocks, and random signs.
//!
//! `H_1 = 1`, `H_2n = [H_n H_n; H_n -H_n]` is symmetric, and `H_n / sqrt(n)` is its own inverse. With random signs in
//! front of it, it spreads every value over its whole block: what comes out is close to a Gaussian whatever went in.
//! Butterflies are taken from neighbours outward, so that sums round alike everywhere.

use super::scalar::Scalar;
use rayon::prelude::*;

/// Values that are transformed together, where the length has a factor that large.
pub const BLOCK: usize = 128;

/// The block for `length` values: the largest power of two up to [`BLOCK`] that divides it.
pub fn block(length: usize) -> usize {
    let most = 1 << length.trailing_zeros().min(BLOCK.ilog2());
    if length == 0 { 1 } else { most }
}

/// Replaces `values`, a power of two of them, by `H` times them, without the factor `1 / sqrt(n)`.
///
/// # Panics
/// When their number is no power of two.
pub fn transform<T: Scalar>(values: &mut [T]) {
    assert!(values.len().is_power_of_two(), "{} values", values.len());
    let mut half = 1;
    while half < values.len() {
        for pair in values.chunks_exact_mut(2 * half) {
            let (low, high) = pair.split_at_mut(half);
            butterflies(low, high);
        }
        half *= 2;
    }
}

/// [`transform`] of every column of `matrix`, a power of two of rows of `cols` values.
///
/// # Panics
/// When the number of rows is no power of two.
pub fn transform_columns<T: Scalar>(matrix: &mut [T], cols: usize) {
    let rows = matrix.len() / cols.max(1);
    assert!(rows.is_power_of_two(), "{rows} rows");
    let mut half = 1;
    while half < rows {
        for pair in matrix.chunks_exact_mut(2 * half * cols) {
            let (low, high) = pair.split_at_mut(half * cols);
            butterflies(low, high);
        }
        half *= 2;
    }
}

/// Transforms both sides of `matrix`, rows of `cols` values, in blocks of `sides` rows and columns:
/// `H_rows matrix H_cols` for every block, without factors.
///
/// # Panics
/// When a side is no power of two or does not divide the matrix.
pub fn transform_both<T: Scalar>(matrix: &mut [T], cols: usize, (rows, width): (usize, usize)) {
    assert!(
        cols.is_multiple_of(width) && matrix.len().is_multiple_of(rows * cols),
        "blocks of {rows} x {width} in rows of {cols}"
    );
    matrix.par_chunks_exact_mut(rows * cols).for_each(|band| {
        for row in band.chunks_exact_mut(width) {
            transform(row);
        }
        transform_columns(band, cols);
    });
}

/// `(a + b, a - b)` for every pair.
fn butterflies<T: Scalar>(low: &mut [T], high: &mut [T]) {
    for (a, b) in low.iter_mut().zip(high) {
        (*a, *b) = (*a + *b, *a - *b);
    }
}

/// `count` random signs, the same for the same `seed` and `purpose`: `true` is minus.
pub fn signs(seed: u64, purpose: &str, count: usize) -> Vec<bool> {
    let mut hasher = blake3::Hasher::new_derive_key("quench random signs");
    hasher
        .update(&seed.to_le_bytes())
        .update(purpose.as_bytes());
    let mut bytes = vec![0; count.div_ceil(8)];
    hasher.finalize_xof().fill(&mut bytes);
    (0..count)
        .map(|at| bytes[at / 8] >> (at % 8) & 1 == 1)
        .collect()
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "sums of small whole numbers are exact")]
mod tests {
    use super::*;

    #[test]
    fn four_values_worked_by_hand() {
        let mut values = [1.0, 2.0, 3.0, 5.0_f32];
        transform(&mut values);
        assert_eq!(values, [11.0, -3.0, -5.0, 1.0]);
        // Twice is four times the values.
        transform(&mut values);
        assert_eq!(values, [4.0, 8.0, 12.0, 20.0]);
    }

    #[test]
    fn rows_and_columns_are_transformed_alike() {
        let values: Vec<f64> = (0..8 * 12).map(|at| f64::from(at * at % 37)).collect();
        let mut both = values.clone();
        transform_both(&mut both, 12, (8, 4));
        let mut apart = values;
        apart.chunks_mut(4).for_each(transform);
        for col in 0..12 {
            let mut column: Vec<f64> = (0..8).map(|row| apart[row * 12 + col]).collect();
            transform(&mut column);
            for (row, value) in column.into_iter().enumerate() {
                assert!((both[row * 12 + col] - value).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn blocks_divide_the_length() {
        assert_eq!([576, 1536, 96, 48, 7].map(block), [64, 128, 32, 16, 1]);
    }

    #[test]
    fn signs_are_half_minus_and_differ_by_seed_and_purpose() {
        let count = |signs: &[bool]| signs.iter().filter(|minus| **minus).count();
        let found = signs(7, "inputs", 10_000);
        assert!((4_700..5_300).contains(&count(&found)));
        assert_eq!(found[..100], signs(7, "inputs", 100));
        assert_ne!(found[..100], signs(8, "inputs", 100));
        assert_ne!(found[..100], signs(7, "outputs", 100));
    }
}
