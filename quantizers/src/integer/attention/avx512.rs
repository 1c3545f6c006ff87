//! Softmax weights with AVX-512: positions in 32-bit lanes, the rest in 16-bit lanes, 32 at a time.

use std::arch::x86_64::{
    __m128i, __m512i, _mm_cvtsi32_si128, _mm256_storeu_si256, _mm512_add_epi16, _mm512_add_epi32,
    _mm512_and_si512, _mm512_cvtepi16_epi8, _mm512_loadu_si512, _mm512_madd_epi16,
    _mm512_mask_cvtepi16_storeu_epi8, _mm512_mask_max_epi32, _mm512_maskz_loadu_epi32,
    _mm512_maskz_mov_epi16, _mm512_max_epi32, _mm512_min_epu32, _mm512_mul_epu32,
    _mm512_mulhi_epu16, _mm512_or_si512, _mm512_permutex2var_epi16, _mm512_permutexvar_epi16,
    _mm512_reduce_add_epi32, _mm512_reduce_max_epi32, _mm512_set1_epi16, _mm512_set1_epi32,
    _mm512_setzero_si512, _mm512_shuffle_i64x2, _mm512_sll_epi32, _mm512_slli_epi16,
    _mm512_srli_epi16, _mm512_srli_epi64, _mm512_srlv_epi16, _mm512_sub_epi16, _mm512_sub_epi32,
};

use super::decay::{Decay, FALL_ROUNDING, FIRST, SECOND};
use super::scores::{Row, Scores};

/// Scores of a step.
const STEP: usize = 32;

/// Weights of 8 bits and their sum; none without the instructions.
pub(super) fn bytes(row: Row<'_>, out: &mut [u8]) -> Option<u32> {
    if !available() {
        return None;
    }
    assert_eq!(row.scores.products.len(), out.len(), "keys of a row");
    #[expect(unsafe_code, reason = "instructions found at run time")]
    // SAFETY: the processor has the instructions, and `out` has a place for every key.
    Some(unsafe { fill::<8>(row, out.as_mut_ptr(), std::ptr::null_mut()) })
}

/// Weights of 15 bits, `128 high + low`, and their sum; none without the instructions.
pub(super) fn planes(row: Row<'_>, high: &mut [u8], low: &mut [u8]) -> Option<u32> {
    if !available() {
        return None;
    }
    assert_eq!(row.scores.products.len(), high.len(), "keys of a row");
    assert_eq!(row.scores.products.len(), low.len(), "keys of a row");
    #[expect(unsafe_code, reason = "instructions found at run time")]
    // SAFETY: the processor has the instructions, and both planes have a place for every key.
    Some(unsafe { fill::<15>(row, high.as_mut_ptr(), low.as_mut_ptr()) })
}

fn available() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw")
}

/// Words 3 of the quadwords of two vectors in turn (upper halves of positions), then words 2.
static POSITIONS: [i16; 32] = [
    3, 35, 7, 39, 11, 43, 15, 47, 19, 51, 23, 55, 27, 59, 31, 63, //
    2, 34, 6, 38, 10, 42, 14, 46, 18, 50, 22, 54, 26, 58, 30, 62,
];

/// Constants in registers.
struct Lanes {
    highest: __m512i,
    clip: __m512i,
    shift: __m128i,
    multiplier: __m512i,
    positions: __m512i,
    table: __m512i,
}

/// # Safety
/// `high`, and `low` for more than 8 bits, must have room for the keys of the row.
#[target_feature(enable = "avx512f,avx512bw")]
#[expect(unsafe_code, reason = "vector loads and stores take pointers")]
unsafe fn fill<const BITS: u32>(row: Row<'_>, high: *mut u8, low: *mut u8) -> u32 {
    let keys = row.scores.products.len();
    assert_eq!(keys, row.scores.offsets.len(), "keys of a row");
    // SAFETY: both arrays have 64 bytes.
    let (table, positions) = unsafe {
        (
            _mm512_loadu_si512(Decay::table(BITS).as_ptr().cast()),
            _mm512_loadu_si512(POSITIONS.as_ptr().cast()),
        )
    };
    let highest = largest(row.scores);
    let lanes = Lanes {
        highest: _mm512_set1_epi32(highest),
        clip: _mm512_set1_epi32(row.decay.clip.cast_signed()),
        shift: _mm_cvtsi32_si128(row.decay.shift.cast_signed()),
        multiplier: _mm512_set1_epi32(row.decay.multiplier.cast_signed()),
        positions,
        table,
    };
    let ones = _mm512_set1_epi16(1);
    let mut total = _mm512_setzero_si512();
    let whole = keys - keys % STEP;
    for start in (0..whole).step_by(STEP) {
        let halves = [start, start + 16].map(|at| {
            // SAFETY: the step lies within the keys.
            lanes.positions_of(unsafe { scores(row.scores, at) })
        });
        let weights = lanes.weights::<BITS>(halves);
        total = _mm512_add_epi32(total, _mm512_madd_epi16(weights, ones));
        let (upper, lower) = parts::<BITS>(weights);
        // SAFETY: 32 bytes from `start` are within the room the caller has.
        unsafe {
            _mm256_storeu_si256(high.add(start).cast(), _mm512_cvtepi16_epi8(upper));
            if BITS > 8 {
                _mm256_storeu_si256(low.add(start).cast(), _mm512_cvtepi16_epi8(lower));
            }
        }
    }
    if whole < keys {
        let mask = u32::MAX >> (STEP - (keys - whole));
        let halves = [whole, whole + 16].map(|at| lanes.positions_of(rest(row.scores, at)));
        // Lanes beyond the keys count nothing.
        let weights = _mm512_maskz_mov_epi16(mask, lanes.weights::<BITS>(halves));
        total = _mm512_add_epi32(total, _mm512_madd_epi16(weights, ones));
        let (upper, lower) = parts::<BITS>(weights);
        // SAFETY: places beyond the keys, by the mask, are not written.
        unsafe {
            _mm512_mask_cvtepi16_storeu_epi8(high.add(whole).cast(), mask, upper);
            if BITS > 8 {
                _mm512_mask_cvtepi16_storeu_epi8(low.add(whole).cast(), mask, lower);
            }
        }
    }
    _mm512_reduce_add_epi32(total).cast_unsigned()
}

/// What is stored of weights: themselves, or upper and lower part.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn parts<const BITS: u32>(weights: __m512i) -> (__m512i, __m512i) {
    if BITS == 8 {
        return (weights, weights);
    }
    let lower = _mm512_and_si512(weights, _mm512_set1_epi16(127));
    (_mm512_srli_epi16::<7>(weights), lower)
}

/// The largest score.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn largest(row: Scores<'_>) -> i32 {
    let keys = row.products.len().min(row.offsets.len());
    let mut highest = _mm512_set1_epi32(i32::MIN);
    let whole = keys - keys % 16;
    for start in (0..whole).step_by(16) {
        #[expect(unsafe_code, reason = "vector loads take pointers")]
        // SAFETY: 16 keys from `start` exist.
        let scores = unsafe { scores(row, start) };
        highest = _mm512_max_epi32(highest, scores);
    }
    if whole < keys {
        let mask = lanes_of(keys - whole);
        highest = _mm512_mask_max_epi32(highest, mask, highest, rest(row, whole));
    }
    _mm512_reduce_max_epi32(highest)
}

/// Scores from key `at` on.
///
/// # Safety
/// The row must have 16 keys from `at` on.
#[target_feature(enable = "avx512f,avx512bw")]
#[expect(unsafe_code, reason = "vector loads take pointers")]
unsafe fn scores(row: Scores<'_>, at: usize) -> __m512i {
    // SAFETY: as the caller says.
    unsafe {
        _mm512_sub_epi32(
            _mm512_loadu_si512(row.products.as_ptr().add(at).cast()),
            _mm512_loadu_si512(row.offsets.as_ptr().add(at).cast()),
        )
    }
}

/// The last scores of a row, from key `at` on; zero beyond.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn rest(row: Scores<'_>, at: usize) -> __m512i {
    let keys = row.products.len().min(row.offsets.len());
    let mask = lanes_of(keys.saturating_sub(at));
    #[expect(unsafe_code, reason = "vector loads take pointers")]
    // SAFETY: lanes beyond the keys, by the mask, are not read.
    unsafe {
        _mm512_sub_epi32(
            _mm512_maskz_loadu_epi32(mask, row.products.as_ptr().wrapping_add(at)),
            _mm512_maskz_loadu_epi32(mask, row.offsets.as_ptr().wrapping_add(at)),
        )
    }
}

/// The mask of the first `count` of 16 lanes.
fn lanes_of(count: usize) -> u16 {
    if count < 16 {
        (1 << count) - 1
    } else {
        u16::MAX
    }
}

impl Lanes {
    /// Positions of 16 scores: 16 upper words, then 16 lower ones.
    #[target_feature(enable = "avx512f,avx512bw")]
    #[inline]
    fn positions_of(&self, scores: __m512i) -> __m512i {
        let distance = _mm512_min_epu32(_mm512_sub_epi32(self.highest, scores), self.clip);
        let distance = _mm512_sll_epi32(distance, self.shift);
        let even = _mm512_mul_epu32(distance, self.multiplier);
        let odd = _mm512_mul_epu32(_mm512_srli_epi64::<32>(distance), self.multiplier);
        _mm512_permutex2var_epi16(even, self.positions, odd)
    }

    /// The steps of [`Decay`] after the position.
    #[target_feature(enable = "avx512f,avx512bw")]
    #[inline]
    fn weights<const BITS: u32>(&self, [first, second]: [__m512i; 2]) -> __m512i {
        let upper = _mm512_shuffle_i64x2::<0x44>(first, second);
        let lower = _mm512_shuffle_i64x2::<0xee>(first, second);
        let octaves = _mm512_srli_epi16::<10>(upper);
        let within = _mm512_or_si512(
            _mm512_slli_epi16::<11>(upper),
            _mm512_srli_epi16::<5>(lower),
        );
        let within = _mm512_and_si512(within, _mm512_set1_epi16(-2));
        // The permutation reads the lower five bits of an index.
        let entry = _mm512_permutexvar_epi16(_mm512_srli_epi16::<5>(upper), self.table);
        let bend = _mm512_mulhi_epu16(within, _mm512_set1_epi16(SECOND.cast_signed()));
        let slope = _mm512_sub_epi16(_mm512_set1_epi16(FIRST.cast_signed()), bend);
        let fall = _mm512_mulhi_epu16(entry, _mm512_mulhi_epu16(within, slope));
        let fall = _mm512_srli_epi16::<5>(_mm512_add_epi16(
            fall,
            _mm512_set1_epi16(FALL_ROUNDING.cast_signed()),
        ));
        let value = _mm512_srlv_epi16(_mm512_sub_epi16(entry, fall), octaves);
        if BITS == 8 {
            _mm512_srli_epi16::<8>(_mm512_add_epi16(value, _mm512_set1_epi16(128)))
        } else {
            _mm512_srli_epi16::<1>(_mm512_add_epi16(value, _mm512_set1_epi16(1)))
        }
    }
}
