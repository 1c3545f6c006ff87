//! The orthonormal Walsh-Hadamard transform of one head in f32.
//!
//! The same matrix as [`crate::linalg::hadamard`] has, which sums from neighbours outward so that all of its
//! callers round alike; here every token passes through, and the inner steps are written for vector registers.

use multiversion::multiversion;

/// Values of one vector register of AVX2.
const LANES: usize = 8;

/// Distances of partners within a register, and which of the two is subtracted.
const STEPS: [(usize, [f32; LANES]); 3] = [
    (1, [1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0]),
    (2, [1.0, 1.0, -1.0, -1.0, 1.0, 1.0, -1.0, -1.0]),
    (4, [1.0, 1.0, 1.0, 1.0, -1.0, -1.0, -1.0, -1.0]),
];

/// Replaces `values`, a power of two of them, by `H values / sqrt(n)`, which is its own inverse.
///
/// # Panics
/// When their number is no power of two.
#[multiversion(targets("x86_64+avx2+fma"))]
pub(super) fn transform(values: &mut [f32]) {
    let count = values.len();
    assert!(count.is_power_of_two(), "{count} values");
    let length = (count as f32).sqrt().recip();
    let (eights, rest) = values.as_chunks_mut::<LANES>();
    if eights.is_empty() {
        let mut half = 1;
        while half < rest.len() {
            for pair in rest.chunks_exact_mut(2 * half) {
                let (low, high) = pair.split_at_mut(half);
                for (a, b) in low.iter_mut().zip(high) {
                    (*a, *b) = (*a + *b, *a - *b);
                }
            }
            half *= 2;
        }
        for value in rest {
            *value *= length;
        }
        return;
    }
    for own in eights.iter_mut() {
        let mut values = *own;
        // Steps within eight values: each becomes its partner plus it, or minus it.
        for (step, signs) in STEPS {
            let partners: [f32; LANES] = std::array::from_fn(|lane| values[lane ^ step]);
            values = std::array::from_fn(|lane| values[lane] * signs[lane] + partners[lane]);
        }
        *own = values.map(|value| value * length);
    }
    let mut half = 1;
    while half < eights.len() {
        for pair in eights.chunks_exact_mut(2 * half) {
            let (low, high) = pair.split_at_mut(half);
            for (a, b) in low.iter_mut().zip(high) {
                let (x, y) = (*a, *b);
                *a = std::array::from_fn(|lane| x[lane] + y[lane]);
                *b = std::array::from_fn(|lane| x[lane] - y[lane]);
            }
        }
        half *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_transform_of_linalg_and_its_own_inverse() {
        for order in [1, 2, 4, 8, 16, 64, 128, 256] {
            let values: Vec<f32> = (0..order).map(|at| (at as f32 * 0.7).sin()).collect();
            let mut expected: Vec<f64> = values.iter().map(|x| f64::from(*x)).collect();
            crate::linalg::hadamard::transform(&mut expected);
            let mut found = values.clone();
            transform(&mut found);
            for (found, expected) in found.iter().zip(&expected) {
                let expected = expected / f64::from(order).sqrt();
                assert!((f64::from(*found) - expected).abs() < 1e-5, "{order}");
            }
            transform(&mut found);
            for (found, value) in found.iter().zip(&values) {
                assert!((found - value).abs() < 1e-5, "{order}");
            }
        }
    }
}
