//! Codes as whole numbers of 16 bits: products are summed in 32 bits, two at a time.

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
    __m128i, __m256i, _mm_loadu_si128, _mm256_add_epi32, _mm256_broadcastsi128_si256,
    _mm256_loadu_si256, _mm256_madd_epi16, _mm256_setzero_si256, _mm256_shuffle_epi8,
    _mm256_unpackhi_epi8, _mm256_unpacklo_epi8,
};

/// Where in 32 inputs the ones that codes of four bits are multiplied with stand: of each sixteen, those of lower halves
/// of bytes come first.
#[rustfmt::skip]
pub(super) const NIBBLES_ORDER: [usize; ROUNDED_TOGETHER] = [
    0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15,
    16, 18, 20, 22, 24, 26, 28, 30, 17, 19, 21, 23, 25, 27, 29, 31,
];
/// The same of narrower codes, which become bytes that are widened in both halves of a register at once.
#[rustfmt::skip]
pub(super) const PAIRS_ORDER: [usize; ROUNDED_TOGETHER] = [
    0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23,
    8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31,
];

/// How 32 codes become two registers of 16-bit words.
pub(super) struct Int16<const BITS: usize, const IS_TABLE: bool> {
    /// Lower and upper bytes of what codes stand for.
    tables: [__m256i; 2],
    apart: Apart<BITS>,
}

impl<const BITS: usize, const IS_TABLE: bool> Weights for Int16<BITS, IS_TABLE> {
    const BITS: usize = BITS;
    const HAVE_OFFSETS: bool = false;
    type Input = i16;
    type Block = [__m256i; 2];

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn new(table: Option<&IntegerTable>) -> Self {
        let mut tables = [_mm256_setzero_si256(); 2];
        if let Some(table) = table {
            for (register, bytes) in tables.iter_mut().zip(&table.bytes) {
                // SAFETY: sixteen bytes.
                *register = unsafe {
                    _mm256_broadcastsi128_si256(_mm_loadu_si128(bytes.as_ptr().cast::<__m128i>()))
                };
            }
        }
        Self {
            tables,
            apart: Apart::new(),
        }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn block(&self, bytes: *const u8) -> [__m256i; 2] {
        // SAFETY: the caller's.
        let codes = unsafe {
            if BITS > 4 {
                return [
                    self.apart.words(bytes),
                    self.apart.words(bytes.add(2 * BITS)),
                ];
            }
            if BITS == 4 {
                nibbles::halves_apart::<false>(bytes)
            } else {
                self.apart.bytes(bytes)
            }
        };
        let [lower, upper] = if IS_TABLE {
            self.tables.map(|table| _mm256_shuffle_epi8(table, codes))
        } else {
            [codes, _mm256_setzero_si256()]
        };
        [
            _mm256_unpacklo_epi8(lower, upper),
            _mm256_unpackhi_epi8(lower, upper),
        ]
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn products([first, second]: [__m256i; 2], x: *const i16) -> __m256i {
        let x = x.cast::<__m256i>();
        // SAFETY: 32 inputs of two bytes.
        unsafe {
            _mm256_add_epi32(
                _mm256_madd_epi16(first, _mm256_loadu_si256(x)),
                _mm256_madd_epi16(second, _mm256_loadu_si256(x.add(1))),
            )
        }
    }
}
