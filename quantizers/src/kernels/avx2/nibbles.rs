//! Codes of four bits as bytes.

#![expect(
    unsafe_code,
    clippy::cast_ptr_alignment,
    reason = "instructions found at run time, whose loads take pointers of any alignment"
)]

use std::arch::x86_64::{
    __m128i, __m256i, _mm_and_si128, _mm_loadu_si128, _mm_set1_epi8, _mm_srli_epi16,
    _mm_unpackhi_epi8, _mm_unpacklo_epi8, _mm256_and_si256, _mm256_blend_epi32,
    _mm256_broadcastsi128_si256, _mm256_set_m128i, _mm256_set1_epi8, _mm256_setr_epi64x,
    _mm256_srli_epi16, _mm256_srlv_epi64,
};

/// Thirty-two codes: those of lower halves of bytes in the lower half of the register, the others in the upper.
/// `SAVES_REGISTERS` does without one for the widths of shifts, in one instruction more.
///
/// # Safety
/// Sixteen bytes can be read.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn halves_apart<const SAVES_REGISTERS: bool>(bytes: *const u8) -> __m256i {
    // SAFETY: the caller's.
    let stored = unsafe { _mm_loadu_si128(bytes.cast::<__m128i>()) };
    let twice = _mm256_broadcastsi128_si256(stored);
    let apart = if SAVES_REGISTERS {
        _mm256_blend_epi32::<0b1111_0000>(twice, _mm256_srli_epi16::<4>(twice))
    } else {
        _mm256_srlv_epi64(twice, _mm256_setr_epi64x(0, 0, 4, 4))
    };
    _mm256_and_si256(apart, _mm256_set1_epi8(15))
}

/// Thirty-two codes one after the other.
///
/// # Safety
/// Sixteen bytes can be read.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn as_they_come(bytes: *const u8) -> __m256i {
    // SAFETY: the caller's.
    let stored = unsafe { _mm_loadu_si128(bytes.cast::<__m128i>()) };
    let nibble = _mm_set1_epi8(15);
    let even = _mm_and_si128(stored, nibble);
    let odd = _mm_and_si128(_mm_srli_epi16::<4>(stored), nibble);
    _mm256_set_m128i(_mm_unpackhi_epi8(even, odd), _mm_unpacklo_epi8(even, odd))
}
