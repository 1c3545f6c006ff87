//! Codes of up to four bits as bf16, 128 or 64 at a time: each word of a register holds four or two of them.
//!
//! Half as many permutations and shifts as [`super::floats`] takes, and one instruction for two products.

#![expect(
    unsafe_code,
    clippy::cast_ptr_alignment,
    reason = "instructions found at run time, whose loads take pointers of any alignment"
)]
#![expect(
    clippy::inline_always,
    reason = "what is generic over instructions gets them from where it is used"
)]

use super::floats::table_of;
use super::lookup::upper_words_twice;
use super::many_codes::{Arithmetic, BLOCK};
use super::spread::{Places, Spread, order_of_lanes};
use super::totals::LANES;
use crate::kernels::order::Order;
use crate::kernels::table::Table;
use std::arch::x86_64::{
    __m256i, __m512, __m512bh, __m512i, _mm256_loadu_si256, _mm512_broadcast_i64x4,
    _mm512_castps_si512, _mm512_castsi256_si512, _mm512_cvtepi32_epi16, _mm512_cvtepu8_epi16,
    _mm512_dpbf16_ps, _mm512_loadu_si512, _mm512_permutexvar_epi16, _mm512_srli_epi16,
    _mm512_srli_epi32,
};
use std::mem::transmute;

/// Words of a register.
const WORDS: usize = 2 * LANES;

/// How inputs stand.
pub(super) static ORDER: Order = Order {
    blocks: &[
        &order_of_lanes::<WORDS, { 2 * BLOCK }>(),
        &order_of_lanes::<WORDS, BLOCK>(),
    ],
    is_padded: true,
};

/// Codes of `BITS` and bf16.
pub(super) struct Bf16<const BITS: usize> {
    four: Spread,
    two: Spread,
}

impl<const BITS: usize> Arithmetic for Bf16<BITS> {
    const BITS: usize = BITS;
    type Input = u16;
    type Table = __m512i;

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512bf16")]
    unsafe fn new() -> Self {
        Self {
            four: Spread::new(const { &Places::of(BITS * 4, 2) }),
            two: Spread::new(const { &Places::of(BITS * 2, 2) }),
        }
    }

    /// Of an index five bits count: tables repeat themselves.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512bf16")]
    unsafe fn table(table: Option<Table<'_>>) -> __m512i {
        if let Some(Table::Bytes(table)) = table {
            return upper_words_twice(table);
        }
        let values = _mm512_castps_si512(table_of::<BITS>(table));
        _mm512_broadcast_i64x4(_mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(values)))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512bf16")]
    unsafe fn two_blocks(&self, bytes: *const u8) -> __m512i {
        // SAFETY: the caller's.
        unsafe {
            match BITS {
                2 => _mm512_cvtepu8_epi16(_mm256_loadu_si256(bytes.cast::<__m256i>())),
                1 | 3 => self.four.lanes(_mm512_loadu_si512(bytes.cast::<__m512i>())),
                _ => _mm512_loadu_si512(bytes.cast::<__m512i>()),
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512bf16")]
    unsafe fn block(&self, bytes: *const u8) -> __m512i {
        // SAFETY: the caller's.
        unsafe {
            let stored = _mm256_loadu_si256(bytes.cast::<__m256i>());
            if BITS == 4 {
                return _mm512_cvtepu8_epi16(stored);
            }
            self.two.lanes(_mm512_castsi256_si512(stored))
        }
    }

    #[inline(always)]
    unsafe fn add<const CODES: usize, const R: usize, const N: usize>(
        lanes: [__m512i; R],
        tables: &[__m512i; R],
        inputs: [*const u16; N],
        sums: &mut [[__m512; N]; R],
    ) {
        // SAFETY: the caller's.
        unsafe {
            // Two words to a lane.
            for step in 0..CODES / 2 {
                let mut weights = *tables;
                for (weights, lanes) in weights.iter_mut().zip(lanes) {
                    *weights = values::<BITS>(lanes, step, *weights);
                }
                for n in 0..N {
                    let x = _mm512_loadu_si512(inputs[n].add(step * WORDS).cast::<__m512i>());
                    for r in 0..R {
                        sums[r][n] = _mm512_dpbf16_ps(sums[r][n], bf16s(weights[r]), bf16s(x));
                    }
                }
            }
        }
    }
}

/// What code `step` of each word stands for.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512bf16")]
fn values<const BITS: usize>(words: __m512i, step: usize, table: __m512i) -> __m512i {
    let codes = match step * BITS {
        0 => words,
        1 => _mm512_srli_epi16::<1>(words),
        2 => _mm512_srli_epi16::<2>(words),
        3 => _mm512_srli_epi16::<3>(words),
        4 => _mm512_srli_epi16::<4>(words),
        6 => _mm512_srli_epi16::<6>(words),
        8 => _mm512_srli_epi16::<8>(words),
        9 => _mm512_srli_epi16::<9>(words),
        12 => _mm512_srli_epi16::<12>(words),
        bits => unreachable!("a code from bit {bits} on"),
    };
    _mm512_permutexvar_epi16(codes, table)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512bf16")]
fn bf16s(words: __m512i) -> __m512bh {
    // SAFETY: registers of the same size, any bits of which are values.
    unsafe { transmute::<__m512i, __m512bh>(words) }
}
