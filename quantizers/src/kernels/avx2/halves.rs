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

/// A row of f16 or bf16 values times `N` inputs of the same length, eights alternating between two sums.
///
/// # Safety
/// The lengths are equal.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn words<const IS_F16: bool, const N: usize>(
    row: &[u16],
    inputs: &[&[f32]],
    sums: &mut [f32],
) {
    let mut even = [_mm256_setzero_ps(); N];
    let mut odd = [_mm256_setzero_ps(); N];
    let inputs_at: [_; N] = std::array::from_fn(|n| inputs[n].as_ptr());
    let (pairs, whole) = (row.len() / 16 * 16, row.len() / 8 * 8);
    let mut at = 0;
    // SAFETY: `at + 8 <= len` of all.
    unsafe {
        while at < pairs {
            let weights = eight::<IS_F16>(row.as_ptr().add(at));
            for n in 0..N {
                let x = _mm256_loadu_ps(inputs_at[n].add(at));
                even[n] = _mm256_fmadd_ps(weights, x, even[n]);
            }
            let weights = eight::<IS_F16>(row.as_ptr().add(at + 8));
            for n in 0..N {
                let x = _mm256_loadu_ps(inputs_at[n].add(at + 8));
                odd[n] = _mm256_fmadd_ps(weights, x, odd[n]);
            }
            at += 16;
        }
        if at < whole {
            let weights = eight::<IS_F16>(row.as_ptr().add(at));
            for n in 0..N {
                let x = _mm256_loadu_ps(inputs_at[n].add(at));
                even[n] = _mm256_fmadd_ps(weights, x, even[n]);
            }
        }
    }
    for n in 0..N {
        sums[n] = across(_mm256_add_ps(even[n], odd[n]));
        if whole < row.len() {
            sums[n] += rest::<IS_F16>(row, inputs[n]);
        }
    }
}

/// What is left over after whole eights.
fn rest<const IS_F16: bool>(row: &[u16], input: &[f32]) -> f32 {
    let whole = row.len() / 8 * 8;
    let rest = row[whole..].iter().zip(&input[whole..]);
    rest.map(|(bits, x)| value::<IS_F16>(*bits) * x).sum()
}

fn value<const IS_F16: bool>(bits: u16) -> f32 {
    if IS_F16 {
        half::f16::from_bits(bits).to_f32()
    } else {
        half::bf16::from_bits(bits).to_f32()
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
