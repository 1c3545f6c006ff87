//! Rows of 16-bit floats.

#![expect(
    unsafe_code,
    clippy::cast_ptr_alignment,
    reason = "instructions found at run time, whose loads take pointers of any alignment"
)]

use super::lookup::across;
use std::arch::x86_64::{
    __m128i, __m256, _mm_loadu_si128, _mm256_add_ps, _mm256_castsi256_ps, _mm256_cvtepu16_epi32,
    _mm256_cvtph_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_setzero_ps, _mm256_slli_epi32,
};

/// Sums that are kept apart, so that one need not wait for the other.
const WIDE: usize = 4;
/// Inputs whose sums have room in registers.
pub(super) const INPUTS: usize = 3;

/// A row of f16 or bf16 values times `N` inputs of the same length.
///
/// # Safety
/// The lengths are equal.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn words<const IS_F16: bool, const N: usize>(
    row: &[u16],
    inputs: &[&[f32]],
    sums: &mut [f32],
) {
    let mut parts = [[_mm256_setzero_ps(); N]; WIDE];
    let whole = row.len() / (8 * WIDE) * (8 * WIDE);
    for from in (0..whole).step_by(8 * WIDE) {
        for (lane, sums) in parts.iter_mut().enumerate() {
            let at = from + 8 * lane;
            // SAFETY: `at + 8 <= len` of all.
            unsafe {
                let weights = eight::<IS_F16>(row.as_ptr().add(at));
                for (sum, input) in sums.iter_mut().zip(inputs) {
                    let x = _mm256_loadu_ps(input.as_ptr().add(at));
                    *sum = _mm256_fmadd_ps(weights, x, *sum);
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
    for n in 0..N {
        let rest = row[whole..].iter().zip(&inputs[n][whole..]);
        let rest: f32 = rest.map(|(bits, x)| value(*bits) * x).sum();
        let [one, two, three, four] = parts.map(|sums| sums[n]);
        let sum = _mm256_add_ps(_mm256_add_ps(one, two), _mm256_add_ps(three, four));
        sums[n] = across(sum) + rest;
    }
}

/// # Safety
/// Eight values can be read.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn eight<const IS_F16: bool>(values: *const u16) -> __m256 {
    // SAFETY: the caller's.
    let stored = unsafe { _mm_loadu_si128(values.cast::<__m128i>()) };
    if IS_F16 {
        _mm256_cvtph_ps(stored)
    } else {
        let wide = _mm256_slli_epi32(_mm256_cvtepu16_epi32(stored), 16);
        _mm256_castsi256_ps(wide)
    }
}
