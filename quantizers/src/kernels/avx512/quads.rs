//! Codes of up to four bits, 128 or 64 at a time: each lane of a register holds eight or four of them.
//!
//! A permutation looks up the lowest bits of every lane, and a shift brings the next code there.

#![expect(
    unsafe_code,
    clippy::cast_ptr_alignment,
    reason = "instructions found at run time, whose loads take pointers of any alignment"
)]

use super::lookup::sixteen_values;
use crate::kernels::table::Table;
use std::arch::x86_64::{
    __m128i, __m256i, __m512, __m512i, _mm_loadu_si128, _mm256_loadu_si256, _mm512_castsi256_si512,
    _mm512_cvtepu8_epi32, _mm512_cvtepu16_epi32, _mm512_loadu_si512, _mm512_multishift_epi64_epi8,
    _mm512_permutexvar_epi8, _mm512_permutexvar_ps, _mm512_set1_epi64, _mm512_srli_epi32,
};

/// Codes that one permutation looks up.
pub(super) const LANES: usize = 16;
/// Codes of a lane, where there are 128.
pub(super) const EIGHT: usize = 8;
/// The same of 64.
pub(super) const FOUR: usize = 4;
/// Bits of the widest codes of which a lane holds eight.
pub(super) const MOST_BITS: u8 = 4;

/// Where in 128 inputs, and in the 64 that may be left, the ones that are multiplied first to last stand: those of the
/// first code of every lane come first.
pub(super) static ORDER: &[&[usize]] = &[
    &of_lanes::<{ LANES * EIGHT }>(),
    &of_lanes::<{ LANES * FOUR }>(),
];

const fn of_lanes<const COUNT: usize>() -> [usize; COUNT] {
    let mut order = [0; COUNT];
    let mut at = 0;
    while at < COUNT {
        order[at] = at % LANES * (COUNT / LANES) + at / LANES;
        at += 1;
    }
    order
}

/// How the codes of a matrix come into lanes.
pub(super) struct Quads {
    eight: Spread,
    four: Spread,
}

/// How codes that fill no half or quarter of a lane are spread.
struct Spread {
    /// The eight bytes in which the codes of every two lanes lie.
    bytes: __m512i,
    /// Where in these each byte of a lane begins.
    starts: __m512i,
}

impl Quads {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    pub(super) fn new<const BITS: usize>() -> Self {
        Self {
            eight: Spread::new(const { &Places::of(BITS * EIGHT) }),
            four: Spread::new(const { &Places::of(BITS * FOUR) }),
        }
    }

    /// The 128 codes at `bytes`, eight consecutive ones in each lane from the lowest bit on, and what follows above.
    ///
    /// # Safety
    /// The codes can be read, and 16 bytes behind them.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    pub(super) unsafe fn eights<const BITS: usize>(&self, bytes: *const u8) -> __m512i {
        // SAFETY: the caller's.
        unsafe {
            match BITS {
                1 => _mm512_cvtepu8_epi32(_mm_loadu_si128(bytes.cast::<__m128i>())),
                2 => _mm512_cvtepu16_epi32(_mm256_loadu_si256(bytes.cast::<__m256i>())),
                3 => self.eight.lanes(_mm512_loadu_si512(bytes.cast::<__m512i>())),
                _ => _mm512_loadu_si512(bytes.cast::<__m512i>()),
            }
        }
    }

    /// The same of 64 codes, four to a lane.
    ///
    /// # Safety
    /// As [`Self::eights`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    pub(super) unsafe fn fours<const BITS: usize>(&self, bytes: *const u8) -> __m512i {
        // SAFETY: the caller's.
        unsafe {
            match BITS {
                1 => {
                    let stored = _mm512_set1_epi64(bytes.cast::<i64>().read_unaligned());
                    _mm512_multishift_epi64_epi8(self.four.starts, stored)
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

    /// What code `step` of each of `lanes` stands for.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    pub(super) fn values<const BITS: usize>(lanes: __m512i, step: usize, table: __m512) -> __m512 {
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
}

impl Spread {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    fn new(places: &Places) -> Self {
        // SAFETY: 64 bytes each.
        unsafe {
            Self {
                bytes: _mm512_loadu_si512(places.bytes.as_ptr().cast::<__m512i>()),
                starts: _mm512_loadu_si512(places.starts.as_ptr().cast::<__m512i>()),
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    fn lanes(&self, stored: __m512i) -> __m512i {
        _mm512_multishift_epi64_epi8(self.starts, _mm512_permutexvar_epi8(self.bytes, stored))
    }
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

/// Where the bytes of lanes lie.
struct Places {
    bytes: [u8; 64],
    starts: [u8; 64],
}

impl Places {
    /// Of `bits` to a lane.
    #[expect(clippy::cast_possible_truncation, reason = "below 64")]
    const fn of(bits: usize) -> Self {
        let (mut bytes, mut starts) = ([0; 64], [0; 64]);
        let mut byte = 0;
        while byte < 64 {
            // Two lanes are eight bytes of a register, which begin with the byte in which the first of them begins. Lanes
            // of half a byte are all taken from the same eight.
            let first = if bits == FOUR { 0 } else { byte / 8 * 2 * bits / 8 };
            bytes[byte] = (first + byte % 8) as u8 % 64;
            starts[byte] = (byte / 4 * bits - first * 8 + byte % 4 * 8) as u8 % 64;
            byte += 1;
        }
        Self { bytes, starts }
    }
}
