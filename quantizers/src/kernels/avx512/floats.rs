//! Codes of up to four bits as f32, 128 or 64 at a time: each lane of a register holds eight or four of them.
//!
//! A permutation looks up the lowest bits of every lane, and a shift brings the next code there.

#![expect(
    unsafe_code,
    clippy::cast_ptr_alignment,
    reason = "instructions found at run time, whose loads take pointers of any alignment"
)]
#![expect(
    clippy::inline_always,
    reason = "what is generic over instructions gets them from where it is used"
)]

use super::lookup::sixteen_values;
use super::many_codes::{Arithmetic, BLOCK};
use super::spread::{Places, Spread, order_of_lanes};
use super::totals::LANES;
use crate::kernels::order::Order;
use crate::kernels::table::Table;
use std::arch::x86_64::{
    __m128i, __m256i, __m512, __m512i, _mm_loadu_si128, _mm256_loadu_si256, _mm512_castsi128_si512,
    _mm512_castsi256_si512, _mm512_cvtepu8_epi32, _mm512_cvtepu16_epi32, _mm512_fmadd_ps,
    _mm512_loadu_ps, _mm512_loadu_si512, _mm512_permutexvar_ps, _mm512_srli_epi32,
};

/// How inputs stand.
pub(super) static ORDER: Order = Order {
    blocks: &[
        &order_of_lanes::<LANES, { 2 * BLOCK }>(),
        &order_of_lanes::<LANES, BLOCK>(),
    ],
    is_padded: true,
};

/// Codes of `BITS` and f32.
pub(super) struct Floats<const BITS: usize> {
    eight: Spread,
    four: Spread,
}

impl<const BITS: usize> Arithmetic for Floats<BITS> {
    const BITS: usize = BITS;
    type Input = f32;
    type Table = __m512;

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    unsafe fn new() -> Self {
        Self {
            eight: Spread::new(const { &Places::of(BITS * 8, 4) }),
            four: Spread::new(const { &Places::of(BITS * 4, 4) }),
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    unsafe fn table(table: Option<Table<'_>>) -> __m512 {
        table_of::<BITS>(table)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    unsafe fn two_blocks(&self, bytes: *const u8) -> __m512i {
        // SAFETY: the caller's.
        unsafe {
            match BITS {
                1 => _mm512_cvtepu8_epi32(_mm_loadu_si128(bytes.cast::<__m128i>())),
                2 => _mm512_cvtepu16_epi32(_mm256_loadu_si256(bytes.cast::<__m256i>())),
                3 => self
                    .eight
                    .lanes(_mm512_loadu_si512(bytes.cast::<__m512i>())),
                _ => _mm512_loadu_si512(bytes.cast::<__m512i>()),
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    unsafe fn block(&self, bytes: *const u8) -> __m512i {
        // SAFETY: the caller's.
        unsafe {
            match BITS {
                1 => {
                    let stored = _mm_loadu_si128(bytes.cast::<__m128i>());
                    self.four.lanes(_mm512_castsi128_si512(stored))
                }
                2 => _mm512_cvtepu8_epi32(_mm_loadu_si128(bytes.cast::<__m128i>())),
                3 => {
                    let stored = _mm256_loadu_si256(bytes.cast::<__m256i>());
                    self.four.lanes(_mm512_castsi256_si512(stored))
                }
                _ => _mm512_cvtepu16_epi32(_mm256_loadu_si256(bytes.cast::<__m256i>())),
            }
        }
    }

    #[inline(always)]
    unsafe fn add<const STEPS: usize, const R: usize, const N: usize>(
        lanes: [__m512i; R],
        tables: &[__m512; R],
        inputs: [*const f32; N],
        sums: &mut [[__m512; N]; R],
    ) {
        // SAFETY: the caller's.
        unsafe {
            for step in 0..STEPS {
                let mut weights = *tables;
                for (weights, lanes) in weights.iter_mut().zip(lanes) {
                    *weights = values::<BITS>(lanes, step, *weights);
                }
                for n in 0..N {
                    let x = _mm512_loadu_ps(inputs[n].add(step * LANES));
                    for r in 0..R {
                        sums[r][n] = _mm512_fmadd_ps(weights[r], x, sums[r][n]);
                    }
                }
            }
        }
    }
}

/// What code `step` of each of `lanes` stands for.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
fn values<const BITS: usize>(lanes: __m512i, step: usize, table: __m512) -> __m512 {
    macro_rules! shifted {
        ($($bits:literal)*) => {
            match step * BITS {
                0 => lanes,
                $($bits => _mm512_srli_epi32::<$bits>(lanes),)*
                bits => unreachable!("a code from bit {bits} on"),
            }
        };
    }
    let codes = shifted!(1 2 3 4 5 6 7 8 9 10 12 14 15 16 18 20 21 24 28);
    _mm512_permutexvar_ps(codes, table)
}

/// What codes of `BITS` stand for, by the four lowest bits of a lane.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
pub(super) fn table_of<const BITS: usize>(table: Option<Table<'_>>) -> __m512 {
    /// Codes that are their own values.
    static OWN: [f32; 16] = [
        0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0,
    ];
    sixteen_values(table.unwrap_or(Table::Floats(&OWN[..1 << BITS])))
}
