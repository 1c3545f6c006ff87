//! Fast Walsh-Hadamard transforms of blocks, and random signs.
//!
//! `H_1 = 1`, `H_2n = [H_n H_n; H_n -H_n]` is symmetric, and `H_n / sqrt(n)` is its own inverse. With random signs in
//! front of it, it spreads every value over its whole block: what comes out is close to a Gaussian whatever went in.
//! Butterflies are taken from neighbours outward, so that sums round alike everywhere. A [`Hadamard`] matrix is one of
//! any order that can be had: a power of two times a matrix that is made of the squares modulo a prime.

use super::paley;
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

/// A Hadamard matrix `H`, of entries 1 and -1 with `H Hᵀ = order I`: `H_n x B` with a power of two `n`, as large as
/// can be, and a matrix `B` of what is left of the order.
#[derive(Debug, Clone, PartialEq)]
pub struct Hadamard {
    order: usize,
    /// Order of `B`.
    side: usize,
    /// `B`, row-major; absent where it is 1.
    base: Option<Vec<f64>>,
}

impl Hadamard {
    /// The matrix of `order`; nothing where no such product has that order.
    pub fn of_order(order: usize) -> Option<Self> {
        let side = Self::side(order)?;
        Some(Self {
            order,
            side,
            base: paley::matrix(side),
        })
    }

    /// The matrix of the largest order that divides `width`, which is at least 1.
    ///
    /// # Panics
    /// When `width` is 0.
    pub fn largest_in(width: usize) -> Self {
        assert!(width > 0, "expected a width, found 0");
        let mut orders = (1..=width)
            .rev()
            .filter(|order| width.is_multiple_of(*order));
        let found = orders.find_map(Self::of_order);
        found.unwrap_or(Self {
            order: 1,
            side: 1,
            base: None,
        })
    }

    /// Rows, and columns.
    pub fn order(&self) -> usize {
        self.order
    }

    /// Replaces the row vector `values` by `values H / sqrt(order)`, which is as long.
    ///
    /// # Panics
    /// When there are not as many values as the matrix has rows.
    pub fn rotate(&self, values: &mut [f64]) {
        assert_eq!(values.len(), self.order, "values of a row");
        if let Some(base) = &self.base {
            let mut products = vec![0.0; self.side];
            for part in values.chunks_exact_mut(self.side) {
                products.fill(0.0);
                for (value, row) in part.iter().zip(base.chunks_exact(self.side)) {
                    for (product, entry) in products.iter_mut().zip(row) {
                        *product += value * entry;
                    }
                }
                part.copy_from_slice(&products);
            }
            transform_columns(values, self.side);
        } else {
            transform(values);
        }
        let length = (self.order as f64).sqrt().recip();
        for value in values {
            *value *= length;
        }
    }

    /// The order of `B` for `order`, the smallest there is.
    fn side(order: usize) -> Option<usize> {
        if order == 0 {
            return None;
        }
        let powers = (0..=order.trailing_zeros()).rev();
        let mut sides = powers.map(|power| order >> power);
        sides.find(|side| *side == 1 || paley::is_order(*side))
    }
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

    fn row(hadamard: &Hadamard, at: usize) -> Vec<f64> {
        let mut row = vec![0.0; hadamard.order()];
        row[at] = 1.0;
        hadamard.rotate(&mut row);
        row
    }

    // The rows are what becomes of unit vectors. Other orders up to 200: 52, 92, 100, 116, 156, 172, 184 and 188 need
    // prime powers or another construction.
    #[test]
    fn matrices_of_every_order_up_to_200_are_orthogonal_and_of_signs() {
        let mut missing = Vec::new();
        for order in 1..=200 {
            let Some(hadamard) = Hadamard::of_order(order) else {
                if order % 4 == 0 {
                    missing.push(order);
                }
                continue;
            };
            assert!(order < 3 || order % 4 == 0, "{order}");
            let rows: Vec<Vec<f64>> = (0..order).map(|at| row(&hadamard, at)).collect();
            let length = (order as f64).sqrt();
            for (at, first) in rows.iter().enumerate() {
                let signs = first.iter().map(|entry| (entry * length).abs());
                assert!(signs.map(|sign| (sign - 1.0).abs()).all(|off| off < 1e-12));
                for (other, second) in rows.iter().enumerate() {
                    let product: f64 = first.iter().zip(second).map(|(a, b)| a * b).sum();
                    let expected = f64::from(u8::from(at == other));
                    assert!((product - expected).abs() < 1e-12, "{order}: {at} {other}");
                }
            }
        }
        assert_eq!(missing, [52, 92, 100, 116, 156, 172, 184, 188]);
    }

    #[test]
    fn the_fast_transform_is_the_product_with_the_matrix() {
        for order in [1, 2, 12, 36, 56, 96, 120] {
            let hadamard = Hadamard::of_order(order).unwrap();
            let values: Vec<f64> = (0..order).map(|at| (at as f64 * 0.7).sin()).collect();
            let mut expected = vec![0.0; order];
            for (at, value) in values.iter().enumerate() {
                for (sum, entry) in expected.iter_mut().zip(row(&hadamard, at)) {
                    *sum += value * entry;
                }
            }
            let mut found = values;
            hadamard.rotate(&mut found);
            for (found, expected) in found.iter().zip(&expected) {
                assert!((found - expected).abs() < 1e-12, "{order}");
            }
        }
    }

    #[test]
    fn usual_widths_have_a_matrix_and_others_one_of_a_divisor() {
        for width in [
            384, 576, 896, 960, 1152, 1536, 2304, 2560, 2880, 3584, 4096, 5120, 5376,
        ] {
            assert_eq!(Hadamard::largest_in(width).order(), width);
        }
        let largest = [1, 7, 50, 100, 172, 11008].map(|width| Hadamard::largest_in(width).order());
        assert_eq!(largest, [1, 1, 2, 20, 4, 256]);
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
