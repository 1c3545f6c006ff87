//! Rows of 16-bit floats.

#![expect(
    unsafe_code,
    clippy::cast_ptr_alignment,
    reason = "instructions found at run time, whose loads take pointers of any alignment"
)]

use std::arch::x86_64::{
    __m256i, __m512, _MM_HINT_T1, _mm_prefetch, _mm256_loadu_si256, _mm512_add_ps,
    _mm512_castsi512_ps, _mm512_cvtepu16_epi32, _mm512_cvtph_ps, _mm512_fmadd_ps, _mm512_loadu_ps,
    _mm512_reduce_add_ps, _mm512_setzero_ps, _mm512_slli_epi32,
};

/// Sums that are kept apart, so that one need not wait for the other.
const WIDE: usize = 2;
/// How far ahead of what is multiplied values are fetched.
const AHEAD: usize = 4096;

/// A row of f16 or bf16 values times `N` inputs of the same length.
///
/// # Safety
/// The lengths are equal.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
pub(super) unsafe fn words<const IS_F16: bool, const N: usize>(
    row: &[u16],
    inputs: &[&[f32]],
    sums: &mut [f32],
) {
    let mut parts = [[_mm512_setzero_ps(); N]; WIDE];
    let whole = row.len() / (16 * WIDE) * (16 * WIDE);
    for from in (0..whole).step_by(16 * WIDE) {
        _mm_prefetch::<_MM_HINT_T1>(row.as_ptr().wrapping_add(from + AHEAD).cast());
        for (lane, sums) in parts.iter_mut().enumerate() {
            let at = from + 16 * lane;
            // SAFETY: `at + 16 <= len` of all.
            unsafe {
                let weights = sixteen::<IS_F16>(row.as_ptr().add(at));
                for (sum, input) in sums.iter_mut().zip(inputs) {
                    let x = _mm512_loadu_ps(input.as_ptr().add(at));
                    *sum = _mm512_fmadd_ps(weights, x, *sum);
                }
            }
        }
    }
    let value = |bits: u16| {
        if IS_F16 {
            half::f16::from_bits(bits).to_f32()
        } else {
            half::bf16::from_bits(bits).to_f32()
        }
    };
    let [even, odd] = parts;
    for n in 0..N {
        let rest = row[whole..].iter().zip(&inputs[n][whole..]);
        let rest: f32 = rest.map(|(bits, x)| value(*bits) * x).sum();
        sums[n] = _mm512_reduce_add_ps(_mm512_add_ps(even[n], odd[n])) + rest;
    }
}

/// # Safety
/// Sixteen values can be read.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
unsafe fn sixteen<const IS_F16: bool>(values: *const u16) -> __m512 {
    // SAFETY: the caller's.
    let stored = unsafe { _mm256_loadu_si256(values.cast::<__m256i>()) };
    if IS_F16 {
        _mm512_cvtph_ps(stored)
    } else {
        _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(stored)))
    }
}
