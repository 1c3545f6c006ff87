//! Eight codes, and what they stand for.

#![expect(
    unsafe_code,
    clippy::cast_ptr_alignment,
    reason = "instructions found at run time, whose loads take pointers of any alignment"
)]

use std::arch::x86_64::{
    __m128i, __m256, __m256i, _mm_add_ps, _mm_add_ss, _mm_and_si128, _mm_cvtss_f32,
    _mm_loadu_si128, _mm_movehl_ps, _mm_packus_epi16, _mm_set1_epi8, _mm_set1_epi16,
    _mm_shuffle_ps, _mm_srli_epi16, _mm_unpackhi_epi8, _mm_unpacklo_epi8, _mm256_and_si256,
    _mm256_blendv_ps, _mm256_castps256_ps128, _mm256_castsi256_ps, _mm256_castsi256_si128,
    _mm256_cvtepi32_ps, _mm256_cvtph_ps, _mm256_cvtps_ph, _mm256_extractf128_ps,
    _mm256_extracti128_si256, _mm256_i32gather_ps, _mm256_loadu_ps, _mm256_permutevar8x32_ps,
    _mm256_set_m128i, _mm256_set1_epi32, _mm256_setr_epi32, _mm256_shuffle_epi8, _mm256_slli_epi32,
    _mm256_srlv_epi32, _mm256_storeu_ps, _mm256_unpackhi_epi8, _mm256_unpacklo_epi8,
};

/// Values of codes, in registers where they have room, and where in a word each of eight codes lies.
pub(super) struct Lookup {
    low: __m256,
    high: __m256,
    /// Lower and upper bytes of the same values as f16, which those of tables are.
    bytes: [__m256i; 2],
    table: *const f32,
    shifts: __m256i,
}

impl Lookup {
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn new<const BITS: usize>(table: Option<&[f32]>) -> Self {
        let mut values = [0.0_f32; 16];
        for (code, value) in values.iter_mut().enumerate() {
            // What lies above the bits of a code is never masked off: the table repeats itself.
            let code = code & ((1 << BITS) - 1);
            #[expect(clippy::cast_precision_loss, reason = "below 16")]
            let own = code as f32;
            *value = table.map_or(own, |table| table[code]);
        }
        // SAFETY: 16 values.
        let (low, high) = unsafe {
            let start = values.as_ptr();
            (_mm256_loadu_ps(start), _mm256_loadu_ps(start.add(8)))
        };
        Self {
            low,
            high,
            bytes: bytes_of(low, high),
            table: table.map_or(std::ptr::null(), <[f32]>::as_ptr),
            shifts: shifts::<BITS>(),
        }
    }

    /// Values of the eight codes that begin at `bytes`.
    ///
    /// # Safety
    /// Eight bytes can be read, and a table has `2^BITS` values.
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) unsafe fn eight<const BITS: usize>(&self, bytes: *const u8) -> __m256 {
        // SAFETY: the caller's.
        let word = |at: usize| unsafe { bytes.add(at).cast::<u32>().read_unaligned() };
        let words = if BITS <= 4 {
            _mm256_set1_epi32(word(0).cast_signed())
        } else {
            let (low, high) = (word(0).cast_signed(), word(BITS / 2).cast_signed());
            _mm256_setr_epi32(low, low, low, low, high, high, high, high)
        };
        let codes = _mm256_srlv_epi32(words, self.shifts);
        // SAFETY: the caller's.
        unsafe { self.values::<BITS>(codes) }
    }

    /// Values of the thirty-two codes of four bits at `bytes`, which are looked up in a table.
    ///
    /// # Safety
    /// Sixteen bytes can be read, and as many values written as there are codes.
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) unsafe fn thirty_two(&self, bytes: *const u8, out: *mut f32) {
        // SAFETY: the caller's.
        let stored = unsafe { _mm_loadu_si128(bytes.cast::<__m128i>()) };
        let nibble = _mm_set1_epi8(15);
        let even = _mm_and_si128(stored, nibble);
        let odd = _mm_and_si128(_mm_srli_epi16::<4>(stored), nibble);
        let (first, second) = (_mm_unpacklo_epi8(even, odd), _mm_unpackhi_epi8(even, odd));
        let codes = _mm256_set_m128i(second, first);
        let [low, high] = self.bytes.map(|bytes| _mm256_shuffle_epi8(bytes, codes));
        // Codes 0 to 7 and 16 to 23, and the others.
        let one = _mm256_unpacklo_epi8(low, high);
        let other = _mm256_unpackhi_epi8(low, high);
        let parts = [
            _mm256_castsi256_si128(one),
            _mm256_castsi256_si128(other),
            _mm256_extracti128_si256::<1>(one),
            _mm256_extracti128_si256::<1>(other),
        ];
        for (at, halves) in parts.into_iter().enumerate() {
            // SAFETY: the caller's.
            unsafe { _mm256_storeu_ps(out.add(8 * at), _mm256_cvtph_ps(halves)) };
        }
    }

    /// Values of eight codes, above whose bits anything may stand.
    ///
    /// # Safety
    /// A table has `2^BITS` values.
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn values<const BITS: usize>(&self, codes: __m256i) -> __m256 {
        if !self.table.is_null() && BITS <= 3 {
            return _mm256_permutevar8x32_ps(self.low, codes);
        }
        if !self.table.is_null() && BITS == 4 {
            let low = _mm256_permutevar8x32_ps(self.low, codes);
            let high = _mm256_permutevar8x32_ps(self.high, codes);
            let is_high = _mm256_castsi256_ps(_mm256_slli_epi32(codes, 28));
            return _mm256_blendv_ps(low, high, is_high);
        }
        let codes = _mm256_and_si256(codes, _mm256_set1_epi32((1 << BITS) - 1));
        if self.table.is_null() {
            return _mm256_cvtepi32_ps(codes);
        }
        // SAFETY: codes are below 2^BITS.
        unsafe { _mm256_i32gather_ps::<4>(self.table, codes) }
    }
}

/// Lower and upper bytes of sixteen values as f16, twice each.
#[target_feature(enable = "avx2,fma,f16c")]
fn bytes_of(low: __m256, high: __m256) -> [__m256i; 2] {
    const NEAREST: i32 = 0;
    let halves = [low, high].map(|values| _mm256_cvtps_ph::<NEAREST>(values));
    let lower = halves.map(|halves| _mm_and_si128(halves, _mm_set1_epi16(0xff)));
    let upper = halves.map(|halves| _mm_srli_epi16::<8>(halves));
    [lower, upper].map(|[first, second]| {
        let bytes = _mm_packus_epi16(first, second);
        _mm256_set_m128i(bytes, bytes)
    })
}

#[target_feature(enable = "avx2,fma,f16c")]
fn shifts<const BITS: usize>() -> __m256i {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        reason = "at most 8"
    )]
    let bits = BITS as i32;
    if BITS <= 4 {
        let at = |code: i32| code * bits;
        _mm256_setr_epi32(at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7))
    } else {
        // The upper four begin in the middle of a byte where BITS is odd.
        let at = |code: i32| code * bits + 4 * (bits % 2);
        let low = |code: i32| code * bits;
        _mm256_setr_epi32(low(0), low(1), low(2), low(3), at(0), at(1), at(2), at(3))
    }
}

/// The sum of all lanes.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn across(lanes: __m256) -> f32 {
    let four = _mm_add_ps(
        _mm256_castps256_ps128(lanes),
        _mm256_extractf128_ps::<1>(lanes),
    );
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
}
