//! The orthonormal Walsh-Hadamard transform of one head in f32.
//!
//! The same matrix as [`crate::linalg::hadamard`] has, which sums from neighbours outward so that all of its
//! callers round alike; here every token passes through, and the steps are written for AVX2 where the machine has it. The
//! same sums are made of the same terms on any machine.

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
pub(super) fn transform(values: &mut [f32]) {
    let count = values.len();
    assert!(count.is_power_of_two(), "{count} values");
    let length = (count as f32).sqrt().recip();
    #[cfg(target_arch = "x86_64")]
    if x86::transform(values, length) {
        return;
    }
    plain(values, length);
}

/// The transform on any machine; `length` multiplies the result.
fn plain(values: &mut [f32], length: f32) {
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

#[cfg(target_arch = "x86_64")]
mod x86 {
    #![expect(unsafe_code, reason = "instructions found at run time")]

    use super::LANES;
    use std::arch::x86_64::{
        __m256, _mm256_add_ps, _mm256_loadu_ps, _mm256_mul_ps, _mm256_permute_ps,
        _mm256_permute2f128_ps, _mm256_set1_ps, _mm256_setr_ps, _mm256_storeu_ps, _mm256_sub_ps,
        _mm256_xor_ps,
    };

    /// Transforms values that fill registers; says whether that is done: not on a machine without AVX2.
    pub(super) fn transform(values: &mut [f32], length: f32) -> bool {
        let (eights, rest) = values.as_chunks_mut::<LANES>();
        if !rest.is_empty() || eights.is_empty() || !is_x86_feature_detected!("avx2") {
            return false;
        }
        // SAFETY: the machine has AVX2.
        unsafe { all(eights, length) };
        true
    }

    #[target_feature(enable = "avx2")]
    fn all(eights: &mut [[f32; LANES]], length: f32) {
        // The second of two partners is subtracted.
        let one = _mm256_setr_ps(0.0, -0.0, 0.0, -0.0, 0.0, -0.0, 0.0, -0.0);
        let two = _mm256_setr_ps(0.0, 0.0, -0.0, -0.0, 0.0, 0.0, -0.0, -0.0);
        let four = _mm256_setr_ps(0.0, 0.0, 0.0, 0.0, -0.0, -0.0, -0.0, -0.0);
        let length = _mm256_set1_ps(length);
        for own in eights.iter_mut() {
            let x = load(own);
            let x = _mm256_add_ps(_mm256_xor_ps(x, one), _mm256_permute_ps::<0b10_11_00_01>(x));
            let x = _mm256_add_ps(_mm256_xor_ps(x, two), _mm256_permute_ps::<0b01_00_11_10>(x));
            let x = _mm256_add_ps(_mm256_xor_ps(x, four), _mm256_permute2f128_ps::<1>(x, x));
            store(own, _mm256_mul_ps(x, length));
        }
        let mut half = 1;
        while half < eights.len() {
            if half * 2 < eights.len() {
                // Two steps at once, so that values pass through memory half as often.
                for four in eights.chunks_exact_mut(4 * half) {
                    let (low, high) = four.split_at_mut(2 * half);
                    let (first, second) = low.split_at_mut(half);
                    let (third, fourth) = high.split_at_mut(half);
                    let pairs = first.iter_mut().zip(second);
                    for ((a, b), (c, d)) in pairs.zip(third.iter_mut().zip(fourth)) {
                        let [w, x, y, z] = [load(a), load(b), load(c), load(d)];
                        let (w, x) = (_mm256_add_ps(w, x), _mm256_sub_ps(w, x));
                        let (y, z) = (_mm256_add_ps(y, z), _mm256_sub_ps(y, z));
                        store(a, _mm256_add_ps(w, y));
                        store(b, _mm256_add_ps(x, z));
                        store(c, _mm256_sub_ps(w, y));
                        store(d, _mm256_sub_ps(x, z));
                    }
                }
                half *= 4;
            } else {
                let (low, high) = eights.split_at_mut(half);
                for (a, b) in low.iter_mut().zip(high) {
                    let (x, y) = (load(a), load(b));
                    store(a, _mm256_add_ps(x, y));
                    store(b, _mm256_sub_ps(x, y));
                }
                half *= 2;
            }
        }
    }

    #[target_feature(enable = "avx2")]
    fn load(x: &[f32; LANES]) -> __m256 {
        // SAFETY: eight values.
        unsafe { _mm256_loadu_ps(x.as_ptr()) }
    }

    #[target_feature(enable = "avx2")]
    fn store(to: &mut [f32; LANES], x: __m256) {
        // SAFETY: eight values.
        unsafe { _mm256_storeu_ps(to.as_mut_ptr(), x) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_machine_has_the_same_bits() {
        for order in [1, 2, 8, 16, 32, 64, 128, 256, 512] {
            let values: Vec<f32> = (0..order).map(|at| (at as f32 * 1.3).cos() - 0.1).collect();
            let (mut found, mut expected) = (values.clone(), values);
            transform(&mut found);
            plain(&mut expected, (order as f32).sqrt().recip());
            let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&found), bits(&expected), "{order}");
        }
    }

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
