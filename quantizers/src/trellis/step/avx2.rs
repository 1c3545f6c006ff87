//! Eight sequences in a vector: AVX2 and fused multiply-add.

use super::{Place, Step, walk};
use std::arch::x86_64::{
    __m256, __m256i, _CMP_LT_OQ, _mm_cvtsi32_si128, _mm256_add_epi32, _mm256_blendv_ps,
    _mm256_castps_si256, _mm256_castsi256_ps, _mm256_cmp_ps, _mm256_fmadd_ps, _mm256_loadu_ps,
    _mm256_loadu_si256, _mm256_min_ps, _mm256_or_si256, _mm256_set1_epi32, _mm256_set1_ps,
    _mm256_setzero_si256, _mm256_sll_epi32, _mm256_storeu_ps, _mm256_storeu_si256, _mm256_sub_ps,
};

/// Values in a vector.
const WIDTH: usize = 8;

/// Whether the processor has the instructions.
pub(super) fn is_available() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
}

/// Takes a step; `LANES` is a multiple of 8.
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

#[target_feature(enable = "avx2,fma")]
fn vectors<const LANES: usize, const BRANCHES: usize>(step: Step<'_, LANES>) {
    walk::<LANES, BRANCHES>(step, |weights, ways, values, after, (word, place)| {
        for from in (0..LANES).step_by(WIDTH) {
            let weight = load(weights, from);
            let mut best = _mm256_set1_ps(f32::INFINITY);
            let mut chosen = _mm256_setzero_si256();
            let mut high = _mm256_setzero_si256();
            for (way, value) in ways.iter().zip(values) {
                let error = _mm256_sub_ps(weight, _mm256_set1_ps(*value));
                let cost = _mm256_fmadd_ps(error, error, load(way, from));
                let better = _mm256_cmp_ps::<_CMP_LT_OQ>(cost, best);
                best = _mm256_min_ps(cost, best);
                chosen = _mm256_castps_si256(_mm256_blendv_ps(
                    _mm256_castsi256_ps(chosen),
                    _mm256_castsi256_ps(high),
                    better,
                ));
                high = _mm256_add_epi32(high, _mm256_set1_epi32(1));
            }
            store(after, from, best);
            put(word, from, place, chosen);
        }
    });
}

/// The eight values from `from` on.
#[target_feature(enable = "avx")]
fn load<const LANES: usize>(values: &[f32; LANES], from: usize) -> __m256 {
    let values = &values[from..from + WIDTH];
    #[expect(unsafe_code, reason = "loads take pointers")]
    // SAFETY: eight values were borrowed.
    unsafe {
        _mm256_loadu_ps(values.as_ptr())
    }
}

/// Overwrites the eight values from `from` on.
#[target_feature(enable = "avx")]
fn store<const LANES: usize>(values: &mut [f32; LANES], from: usize, vector: __m256) {
    let values = &mut values[from..from + WIDTH];
    #[expect(unsafe_code, reason = "stores take pointers")]
    // SAFETY: eight values were borrowed.
    unsafe {
        _mm256_storeu_ps(values.as_mut_ptr(), vector);
    }
}

/// Puts `chosen` in its place among the words from `from` on, whose lower places are filled.
#[target_feature(enable = "avx2")]
fn put<const LANES: usize>(
    words: &mut [u32; LANES],
    from: usize,
    (place, bits): Place,
    chosen: __m256i,
) {
    let words = &mut words[from..from + WIDTH];
    #[expect(clippy::cast_possible_truncation, reason = "below 32")]
    let shift = _mm_cvtsi32_si128((place as u32 * bits).cast_signed());
    let moved = _mm256_sll_epi32(chosen, shift);
    #[expect(unsafe_code, reason = "loads and stores take pointers")]
    #[expect(clippy::cast_ptr_alignment, reason = "they need not be aligned")]
    // SAFETY: eight words were borrowed.
    unsafe {
        let at = words.as_mut_ptr().cast::<__m256i>();
        let filled = if place == 0 {
            moved
        } else {
            _mm256_or_si256(_mm256_loadu_si256(at), moved)
        };
        _mm256_storeu_si256(at, filled);
    }
}
