//! Codes that are not four bits wide, one to a word or to a byte.

#![expect(
    unsafe_code,
    clippy::cast_ptr_alignment,
    reason = "instructions found at run time, whose loads take pointers of any alignment"
)]

use std::arch::x86_64::{
    __m128i, __m256i, _mm_loadu_si128, _mm256_and_si256, _mm256_broadcastsi128_si256,
    _mm256_loadu_si256, _mm256_mullo_epi16, _mm256_or_si256, _mm256_set1_epi8, _mm256_shuffle_epi8,
    _mm256_slli_epi16, _mm256_srli_epi16,
};

/// How codes of `BITS` are picked apart.
pub(super) struct Apart<const BITS: usize> {
    /// The bytes in which the code, or the pair of codes, of each word lies.
    bytes: __m256i,
    /// What moves it to the top of its word.
    factors: __m256i,
}

impl<const BITS: usize> Apart<BITS> {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn new() -> Self {
        let places = const { &Places::of(BITS) };
        // SAFETY: 32 bytes each.
        unsafe {
            Self {
                bytes: _mm256_loadu_si256(places.bytes.as_ptr().cast::<__m256i>()),
                factors: _mm256_loadu_si256(places.factors.as_ptr().cast::<__m256i>()),
            }
        }
    }

    /// Thirty-two codes of up to three bits, one to a byte, as they come.
    ///
    /// # Safety
    /// 16 bytes can be read.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) unsafe fn bytes(&self, bytes: *const u8) -> __m256i {
        // SAFETY: the caller's.
        let pairs = unsafe { self.words(bytes) };
        let second = match BITS {
            1 => _mm256_slli_epi16::<7>(pairs),
            2 => _mm256_slli_epi16::<6>(pairs),
            _ => _mm256_slli_epi16::<5>(pairs),
        };
        let code = _mm256_set1_epi8((1 << BITS) - 1);
        _mm256_and_si256(_mm256_or_si256(pairs, second), code)
    }

    /// The 16 codes, or pairs of codes, at `bytes`, one to a word.
    ///
    /// # Safety
    /// 16 bytes can be read.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) unsafe fn words(&self, bytes: *const u8) -> __m256i {
        // SAFETY: the caller's.
        let stored = unsafe { _mm_loadu_si128(bytes.cast::<__m128i>()) };
        let pairs = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(stored), self.bytes);
        let at_top = _mm256_mullo_epi16(pairs, self.factors);
        match width(BITS) {
            2 => _mm256_srli_epi16::<14>(at_top),
            4 => _mm256_srli_epi16::<12>(at_top),
            5 => _mm256_srli_epi16::<11>(at_top),
            6 => _mm256_srli_epi16::<10>(at_top),
            7 => _mm256_srli_epi16::<9>(at_top),
            _ => _mm256_srli_epi16::<8>(at_top),
        }
    }
}

/// Where sixteen words of [`Apart::words`] lie.
struct Places {
    bytes: [u8; 32],
    factors: [u16; 16],
}

impl Places {
    const fn of(bits: usize) -> Self {
        let (mut bytes, mut factors) = ([0; 32], [0; 16]);
        let mut word = 0;
        while word < 16 {
            let first = word * width(bits);
            #[expect(clippy::cast_possible_truncation, reason = "at most 16")]
            let byte = (first / 8) as u8;
            (bytes[2 * word], bytes[2 * word + 1]) = (byte, byte + 1);
            factors[word] = 1 << (16 - width(bits) - first % 8);
            word += 1;
        }
        Self { bytes, factors }
    }
}

/// Bits of a word of [`Apart::words`]: two codes where they are looked up as bytes, else one.
const fn width(bits: usize) -> usize {
    if bits < 4 { 2 * bits } else { bits }
}
