//! Codes of up to four bits as whole numbers of 7 bits, with inputs of 8: four products to each sum.

#![expect(
    unsafe_code,
    clippy::cast_ptr_alignment,
    reason = "instructions found at run time, whose loads take pointers of any alignment"
)]

use super::apart::Apart;
use super::nibbles;
use super::rounded::Weights;
use crate::kernels::inputs::ROUNDED_TOGETHER;
use crate::kernels::table::IntegerTable;
use std::arch::x86_64::{
    __m128i, __m256i, _mm_loadu_si128, _mm256_broadcastsi128_si256, _mm256_loadu_si256,
    _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_set1_epi16, _mm256_setzero_si256,
    _mm256_shuffle_epi8,
};

/// Where in 32 inputs the ones that codes of four bits are multiplied with stand: those of lower halves of bytes come first.
#[rustfmt::skip]
pub(super) const NIBBLES_ORDER: [usize; ROUNDED_TOGETHER] = [
    0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30,
    1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31,
];

/// How 32 codes become a register of bytes.
pub(super) struct Int8<const BITS: usize, const IS_TABLE: bool> {
    /// What codes stand for.
    table: __m256i,
    apart: Apart<BITS>,
}

impl<const BITS: usize, const IS_TABLE: bool> Weights for Int8<BITS, IS_TABLE> {
    const BITS: usize = BITS;
    const HAVE_OFFSETS: bool = IS_TABLE;
    type Input = i8;
    type Block = __m256i;

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn new(table: Option<&IntegerTable>) -> Self {
        let table = table.map_or(_mm256_setzero_si256(), |table| {
            let [bytes, _] = &table.bytes;
            // SAFETY: sixteen bytes.
            unsafe {
                _mm256_broadcastsi128_si256(_mm_loadu_si128(bytes.as_ptr().cast::<__m128i>()))
            }
        });
        Self {
            table,
            apart: Apart::new(),
        }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn block(&self, bytes: *const u8) -> __m256i {
        // SAFETY: the caller's.
        let codes = unsafe {
            if BITS == 4 {
                nibbles::halves_apart::<false>(bytes)
            } else {
                self.apart.bytes(bytes)
            }
        };
        if IS_TABLE {
            _mm256_shuffle_epi8(self.table, codes)
        } else {
            codes
        }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn products(weights: __m256i, x: *const i8) -> __m256i {
        // SAFETY: 32 inputs of a byte.
        let x = unsafe { _mm256_loadu_si256(x.cast::<__m256i>()) };
        // Weights have no sign and 7 bits: no sum of two products leaves 16 bits.
        let pairs = _mm256_maddubs_epi16(weights, x);
        _mm256_madd_epi16(pairs, _mm256_set1_epi16(1))
    }
}
