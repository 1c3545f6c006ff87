//! Codes, and what they stand for.

#![expect(
    unsafe_code,
    clippy::cast_ptr_alignment,
    reason = "instructions found at run time, whose loads take pointers of any alignment"
)]

use super::nibbles;
use crate::kernels::table::{ByteTable, Table};
use std::arch::x86_64::{
    __m128i, __m256, __m256i, _mm_add_ps, _mm_add_ss, _mm_cvtss_f32, _mm_loadu_si128,
    _mm_movehl_ps, _mm_shuffle_ps, _mm256_add_ps, _mm256_and_si256, _mm256_broadcastsi128_si256,
    _mm256_castpd_ps, _mm256_castps_pd, _mm256_castps256_ps128, _mm256_castsi256_ps,
    _mm256_cvtepi32_ps, _mm256_extractf128_ps, _mm256_i32gather_ps, _mm256_loadu_ps,
    _mm256_permute2f128_ps, _mm256_permute2x128_si256, _mm256_permutevar8x32_ps, _mm256_set1_epi32,
    _mm256_setr_epi32, _mm256_setzero_ps, _mm256_setzero_si256, _mm256_shuffle_epi8,
    _mm256_shuffle_ps, _mm256_srlv_epi32, _mm256_unpackhi_epi8, _mm256_unpackhi_epi16,
    _mm256_unpackhi_pd, _mm256_unpacklo_epi8, _mm256_unpacklo_epi16, _mm256_unpacklo_pd,
};

/// Where in eight inputs the ones that codes of four bits are multiplied with stand: those of lower halves of bytes come
/// first.
pub(super) const NIBBLES_ORDER: [usize; 8] = [0, 2, 4, 6, 1, 3, 5, 7];

/// Values of codes, in registers where they have room, and where in a word each of eight codes lies.
pub(super) struct Lookup {
    /// Of codes of up to three bits.
    eight: __m256,
    /// Of codes of four bits, the second, third and fourth byte of each value: the first is 0.
    bytes: [__m256i; 3],
    table: *const f32,
    shifts: __m256i,
}

impl Lookup {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn new<const BITS: usize>(table: Option<Table<'_>>) -> Self {
        let (mut eight, mut bytes) = (_mm256_setzero_ps(), [_mm256_setzero_si256(); 3]);
        match table {
            None if BITS == 4 => bytes = bytes_of(const { &own_values() }),
            Some(Table::Bytes(table)) => bytes = bytes_of(table),
            // What lies above the bits of a code is never masked off: narrow tables repeat themselves.
            Some(Table::Floats(table)) if BITS <= 3 => {
                let mut repeated = [0.0; 8];
                for values in repeated.chunks_exact_mut(1 << BITS) {
                    values.copy_from_slice(table);
                }
                // SAFETY: eight values.
                eight = unsafe { _mm256_loadu_ps(repeated.as_ptr()) };
            }
            _ => {}
        }
        Self {
            eight,
            bytes,
            table: match table {
                Some(Table::Floats(table)) => table.as_ptr(),
                _ => std::ptr::null(),
            },
            shifts: shifts::<BITS>(),
        }
    }

    /// Values of the eight codes that begin at `bytes`, those of four bits in [`NIBBLES_ORDER`].
    ///
    /// # Safety
    /// Sixteen bytes can be read, and a table has `2^BITS` values.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) unsafe fn eight<const BITS: usize>(&self, bytes: *const u8) -> __m256 {
        if BITS == 4 {
            // SAFETY: the caller's.
            return unsafe { self.thirty_two::<false>(bytes) }[0];
        }
        // SAFETY: the caller's.
        let word = |at: usize| unsafe { bytes.add(at).cast::<u32>().read_unaligned() };
        let words = if BITS < 4 {
            _mm256_set1_epi32(word(0).cast_signed())
        } else {
            let (low, high) = (word(0).cast_signed(), word(BITS / 2).cast_signed());
            _mm256_setr_epi32(low, low, low, low, high, high, high, high)
        };
        let codes = _mm256_srlv_epi32(words, self.shifts);
        // SAFETY: the caller's.
        unsafe { self.values::<BITS>(codes) }
    }

    /// Values of thirty-two codes of four bits, each eight in [`NIBBLES_ORDER`]; beside the sums of more than two inputs
    /// registers are `SCARCE`.
    ///
    /// # Safety
    /// Sixteen bytes can be read.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) unsafe fn thirty_two<const SCARCE: bool>(&self, bytes: *const u8) -> [__m256; 4] {
        // SAFETY: the caller's.
        let codes = unsafe { nibbles::halves_apart::<SCARCE>(bytes) };
        self.of_bytes(codes)
            .map(|values| _mm256_castsi256_ps(values))
    }

    /// The same as the codes come.
    ///
    /// # Safety
    /// Sixteen bytes can be read.
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) unsafe fn thirty_two_as_they_come(&self, bytes: *const u8) -> [__m256; 4] {
        // SAFETY: the caller's.
        let codes = unsafe { nibbles::as_they_come(bytes) };
        let [a, b, c, d] = self.of_bytes(codes);
        let both = [
            _mm256_permute2x128_si256::<0x20>(a, b),
            _mm256_permute2x128_si256::<0x20>(c, d),
            _mm256_permute2x128_si256::<0x31>(a, b),
            _mm256_permute2x128_si256::<0x31>(c, d),
        ];
        both.map(|values| _mm256_castsi256_ps(values))
    }

    /// Values of the codes that the bytes of a register are: of each half the first four, the next four and so on.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    fn of_bytes(&self, codes: __m256i) -> [__m256i; 4] {
        let [second, third, fourth] = self.bytes.map(|bytes| _mm256_shuffle_epi8(bytes, codes));
        let first = _mm256_setzero_si256();
        let lower = _mm256_unpacklo_epi8(first, second);
        let upper = _mm256_unpacklo_epi8(third, fourth);
        let last_lower = _mm256_unpackhi_epi8(first, second);
        let last_upper = _mm256_unpackhi_epi8(third, fourth);
        [
            _mm256_unpacklo_epi16(lower, upper),
            _mm256_unpackhi_epi16(lower, upper),
            _mm256_unpacklo_epi16(last_lower, last_upper),
            _mm256_unpackhi_epi16(last_lower, last_upper),
        ]
    }

    /// Values of eight codes, above whose bits anything may stand.
    ///
    /// # Safety
    /// A table has `2^BITS` values.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn values<const BITS: usize>(&self, codes: __m256i) -> __m256 {
        if !self.table.is_null() && BITS <= 3 {
            return _mm256_permutevar8x32_ps(self.eight, codes);
        }
        let codes = _mm256_and_si256(codes, _mm256_set1_epi32((1 << BITS) - 1));
        if self.table.is_null() {
            return _mm256_cvtepi32_ps(codes);
        }
        // SAFETY: codes are below 2^BITS.
        unsafe { _mm256_i32gather_ps::<4>(self.table, codes) }
    }
}

/// Codes of four bits that are their own values.
const fn own_values() -> ByteTable {
    let mut upper = [[0; 16]; 3];
    let mut code = 0_u8;
    while code < 16 {
        let bytes = (code as f32).to_le_bytes();
        let mut at = 0;
        while at < 3 {
            upper[at][code as usize] = bytes[at + 1];
            at += 1;
        }
        code += 1;
    }
    ByteTable { upper }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn bytes_of(table: &ByteTable) -> [__m256i; 3] {
    let mut registers = [_mm256_setzero_si256(); 3];
    for (register, bytes) in registers.iter_mut().zip(&table.upper) {
        // SAFETY: sixteen bytes.
        *register = unsafe {
            _mm256_broadcastsi128_si256(_mm_loadu_si128(bytes.as_ptr().cast::<__m128i>()))
        };
    }
    registers
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn shifts<const BITS: usize>() -> __m256i {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        reason = "at most 8"
    )]
    let bits = BITS as i32;
    // The upper four of wide codes have a word of their own, and begin in the middle of a byte where BITS is odd.
    let upper = if BITS > 4 { 4 * (bits % 2) } else { 4 * bits };
    let at = |code: i32| code * bits;
    _mm256_setr_epi32(
        at(0),
        at(1),
        at(2),
        at(3),
        upper,
        upper + at(1),
        upper + at(2),
        upper + at(3),
    )
}

/// The sums of all lanes of each of eight registers, in the order in which [`across`] sums one.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(in crate::kernels) fn across_eight(lanes: &[__m256; 8]) -> __m256 {
    // Halves of two registers, then of what is left, until one has a lane of each.
    let pair = |at: usize| {
        let (first, second) = (lanes[at], lanes[at + 4]);
        _mm256_add_ps(
            _mm256_permute2f128_ps::<0x20>(first, second),
            _mm256_permute2f128_ps::<0x31>(first, second),
        )
    };
    let four = |at: usize| {
        let (first, second) = (_mm256_castps_pd(pair(at)), _mm256_castps_pd(pair(at + 1)));
        _mm256_add_ps(
            _mm256_castpd_ps(_mm256_unpacklo_pd(first, second)),
            _mm256_castpd_ps(_mm256_unpackhi_pd(first, second)),
        )
    };
    let (first, second) = (four(0), four(2));
    _mm256_add_ps(
        _mm256_shuffle_ps::<0b10_00_10_00>(first, second),
        _mm256_shuffle_ps::<0b11_01_11_01>(first, second),
    )
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
