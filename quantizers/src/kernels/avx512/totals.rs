//! Sums of lanes, and scales for them.

#![expect(
    unsafe_code,
    reason = "instructions found at run time, whose loads take pointers of any alignment"
)]

use crate::kernels::avx2::across_eight;
use std::arch::x86_64::{
    __m512, __m512i, __mmask16, _mm_cvtsi32_si128, _mm256_add_ps, _mm256_castpd_ps,
    _mm256_setzero_ps, _mm256_storeu_ps, _mm512_castps_pd, _mm512_castps512_ps256,
    _mm512_extractf64x4_pd, _mm512_maskz_loadu_ps, _mm512_permutexvar_ps, _mm512_setr_epi32,
    _mm512_srl_epi32,
};

/// Lanes of a register of f32.
pub(super) const LANES: usize = 16;

/// Writes the sums of all lanes of each of the first `rows` of `totals` to `sums[r · count + n]`: those of eight registers
/// take the time of two.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
pub(super) fn sum_lanes<const R: usize, const N: usize>(
    totals: &[[__m512; N]; R],
    rows: usize,
    sums: &mut [f32],
    count: usize,
) {
    const EIGHT: usize = 8;
    let mut found = [[0.0; EIGHT]; 4];
    const { assert!(R * N <= 4 * EIGHT) }
    for (eight, found) in totals.as_flattened().chunks(EIGHT).zip(&mut found) {
        let mut halves = [_mm256_setzero_ps(); EIGHT];
        for (half, lanes) in halves.iter_mut().zip(eight) {
            let upper = _mm512_extractf64x4_pd::<1>(_mm512_castps_pd(*lanes));
            *half = _mm256_add_ps(_mm512_castps512_ps256(*lanes), _mm256_castpd_ps(upper));
        }
        // SAFETY: eight values.
        unsafe { _mm256_storeu_ps(found.as_mut_ptr(), across_eight(&halves)) };
    }
    for (r, found) in found.as_flattened().chunks_exact(N).take(rows).enumerate() {
        sums[r * count..r * count + N].copy_from_slice(found);
    }
}

/// Groups of neighbouring lanes that share a scale each.
pub(super) struct LaneGroups {
    of_lane: __m512i,
    all: __mmask16,
}

impl LaneGroups {
    /// Of `lanes` each, a power of two; of more than there are, all have the first scale.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    pub(super) fn new(lanes: usize) -> Self {
        let all = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        let shift = _mm_cvtsi32_si128(lanes.trailing_zeros().cast_signed());
        Self {
            of_lane: _mm512_srl_epi32(all, shift),
            all: u16::MAX >> (LANES - (LANES / lanes).max(1)),
        }
    }

    /// The first of `scales`, one for each group, in the lanes of these; zeros where there are no more.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    pub(super) fn scales(&self, scales: &[f32]) -> __m512 {
        let there = u16::MAX >> LANES.saturating_sub(scales.len()).min(LANES - 1);
        // SAFETY: there are as many.
        let scales = unsafe { _mm512_maskz_loadu_ps(self.all & there, scales.as_ptr()) };
        _mm512_permutexvar_ps(self.of_lane, scales)
    }
}
