//! Sixteen sequences in a vector: AVX-512.

use super::{Place, Step, walk};
use std::arch::x86_64::{
    __m512, __m512i, _CMP_LT_OQ, _mm_cvtsi32_si128, _mm512_add_epi32, _mm512_cmp_ps_mask,
    _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_loadu_si512, _mm512_mask_mov_epi32, _mm512_min_ps,
    _mm512_or_si512, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_si512, _mm512_sll_epi32,
    _mm512_storeu_ps, _mm512_storeu_si512, _mm512_sub_ps,
};

/// Values in a vector.
const WIDTH: usize = 16;

/// Whether the processor has the instructions.
pub(super) fn is_available() -> bool {
    is_x86_feature_detected!("avx512f")
}

/// Takes a step; `LANES` is a multiple of 16.
///
/// # Panics
/// Without the instructions.
pub(super) fn take<const LANES: usize, const BRANCHES: usize>(step: Step<'_, LANES>) {
    assert!(is_available() && LANES.is_multiple_of(WIDTH));
    #[expect(unsafe_code, reason = "instructions that are found at run time")]
    // SAFETY: the processor has the instructions.
    unsafe {
        vectors::<LANES, BRANCHES>(step);
    }
}

#[target_feature(enable = "avx512f")]
fn vectors<const LANES: usize, const BRANCHES: usize>(step: Step<'_, LANES>) {
    walk::<LANES, BRANCHES>(step, |weights, ways, values, after, (word, place)| {
        for from in (0..LANES).step_by(WIDTH) {
            let weight = load(weights, from);
            let mut best = _mm512_set1_ps(f32::INFINITY);
            let mut chosen = _mm512_setzero_si512();
            let mut high = _mm512_setzero_si512();
            for (way, value) in ways.iter().zip(values) {
                let error = _mm512_sub_ps(weight, _mm512_set1_ps(*value));
                let cost = _mm512_fmadd_ps(error, error, load(way, from));
                let better = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(cost, best);
                best = _mm512_min_ps(cost, best);
                chosen = _mm512_mask_mov_epi32(chosen, better, high);
                high = _mm512_add_epi32(high, _mm512_set1_epi32(1));
            }
            store(after, from, best);
            put(word, from, place, chosen);
        }
    });
}

/// The sixteen values from `from` on.
#[target_feature(enable = "avx512f")]
fn load<const LANES: usize>(values: &[f32; LANES], from: usize) -> __m512 {
    let values = &values[from..from + WIDTH];
    #[expect(unsafe_code, reason = "loads take pointers")]
    // SAFETY: sixteen values were borrowed.
    unsafe {
        _mm512_loadu_ps(values.as_ptr())
    }
}

/// Overwrites the sixteen values from `from` on.
#[target_feature(enable = "avx512f")]
fn store<const LANES: usize>(values: &mut [f32; LANES], from: usize, vector: __m512) {
    let values = &mut values[from..from + WIDTH];
    #[expect(unsafe_code, reason = "stores take pointers")]
    // SAFETY: sixteen values were borrowed.
    unsafe {
        _mm512_storeu_ps(values.as_mut_ptr(), vector);
    }
}

/// Puts `chosen` in its place among the words from `from` on, whose lower places are filled.
#[target_feature(enable = "avx512f")]
fn put<const LANES: usize>(
    words: &mut [u32; LANES],
    from: usize,
    (place, bits): Place,
    chosen: __m512i,
) {
    let words = &mut words[from..from + WIDTH];
    #[expect(clippy::cast_possible_truncation, reason = "below 32")]
    let shift = _mm_cvtsi32_si128((place as u32 * bits).cast_signed());
    let moved = _mm512_sll_epi32(chosen, shift);
    #[expect(unsafe_code, reason = "loads and stores take pointers")]
    #[expect(clippy::cast_ptr_alignment, reason = "they need not be aligned")]
    // SAFETY: sixteen words were borrowed.
    unsafe {
        let at = words.as_mut_ptr().cast::<__m512i>();
        let filled = if place == 0 {
            moved
        } else {
            _mm512_or_si512(_mm512_loadu_si512(at), moved)
        };
        _mm512_storeu_si512(at, filled);
    }
}
