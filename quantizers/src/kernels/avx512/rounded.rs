//! Rows of whole numbers with rounded inputs: products of 16 bits are summed in 32, two at a time.

#![expect(
    unsafe_code,
    clippy::cast_ptr_alignment,
    reason = "instructions found at run time, whose loads take pointers of any alignment"
)]

use crate::kernels::codes::{CodeRows, PackedCodes};
use crate::kernels::inputs::{ROUNDED_TOGETHER, RoundedInput};
use crate::kernels::table::IntegerTable;
use std::arch::x86_64::{
    __m128i, __m256i, __m512, __m512i, _mm_loadu_si128, _mm_unpackhi_epi8, _mm_unpacklo_epi8,
    _mm256_loadu_si256, _mm256_set_m128i, _mm512_add_ps, _mm512_and_si512, _mm512_broadcast_i64x4,
    _mm512_castsi128_si512, _mm512_castsi256_si512, _mm512_cvtepi32_ps, _mm512_fmadd_ps,
    _mm512_loadu_si512, _mm512_madd_epi16, _mm512_multishift_epi64_epi8, _mm512_permutexvar_epi8,
    _mm512_permutexvar_epi16, _mm512_reduce_add_ps, _mm512_set1_epi16, _mm512_set1_ps,
    _mm512_setzero_ps, _mm512_setzero_si512,
};

/// Sums of each of `rows` with `N` inputs, `sums[r · count + n]`.
///
/// # Safety
/// Inputs and groups are as long as the rows say, groups are whole blocks, and 16 bytes can be read behind their codes.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
pub(super) unsafe fn sums<const BITS: usize, const IS_TABLE: bool, const N: usize>(
    rows: &CodeRows<'_>,
    inputs: &[RoundedInput<'_, i16>],
    sums: &mut [f32],
    count: usize,
) {
    let codes = rows.codes;
    let whole = codes.cols() / ROUNDED_TOGETHER * ROUNDED_TOGETHER;
    let has_rest = whole < codes.cols() || codes.has_zeros();
    for at in 0..rows.len() {
        let number = rows.number(at);
        // SAFETY: the caller's.
        let totals = unsafe { row_totals::<BITS, IS_TABLE, N>(codes, number, inputs) };
        let sums = &mut sums[at * count..at * count + N];
        let scale = codes.integers(number).map_or(1.0, |table| table.scale);
        for (sum, total) in sums.iter_mut().zip(totals) {
            *sum = scale * _mm512_reduce_add_ps(total);
        }
        if has_rest {
            let row = codes.row(number);
            for (sum, input) in sums.iter_mut().zip(inputs) {
                *sum += row.rest(whole, input.input, &input.group_sums);
            }
        }
    }
}

/// Products of whole blocks of a row with each input, in lanes.
///
/// # Safety
/// As [`sums`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
unsafe fn row_totals<const BITS: usize, const IS_TABLE: bool, const N: usize>(
    codes: &PackedCodes,
    row: usize,
    inputs: &[RoundedInput<'_, i16>],
) -> [__m512; N] {
    let words = Words::new::<BITS>(codes.integers(row));
    let bytes = codes.bytes_of(row).as_ptr();
    let group_scales = codes.scales(row);
    let (cols, group_size) = (codes.cols(), codes.group_size);
    let mut totals = [_mm512_setzero_ps(); N];
    let (mut group, mut from) = (0, 0);
    while from < cols {
        let to = (from + group_size).min(cols);
        let blocks = from / ROUNDED_TOGETHER..to / ROUNDED_TOGETHER;
        // Two sums, so that one need not wait for the other.
        let mut parts = [[_mm512_setzero_ps(); N]; 2];
        let mut block = blocks.start;
        // SAFETY: a block of codes takes 4 BITS bytes, and inputs have as many blocks as the row.
        unsafe {
            while block + 2 <= blocks.end {
                let [even, odd] = &mut parts;
                add_block::<BITS, IS_TABLE, N>(bytes, &words, block, inputs, even);
                add_block::<BITS, IS_TABLE, N>(bytes, &words, block + 1, inputs, odd);
                block += 2;
            }
            if block < blocks.end {
                let [even, _] = &mut parts;
                add_block::<BITS, IS_TABLE, N>(bytes, &words, block, inputs, even);
            }
        }
        let scale = _mm512_set1_ps(group_scales.get(group).copied().unwrap_or(1.0));
        for n in 0..N {
            let part = _mm512_add_ps(parts[0][n], parts[1][n]);
            totals[n] = _mm512_fmadd_ps(scale, part, totals[n]);
        }
        (group, from) = (group + 1, to);
    }
    totals
}

/// Adds the products of a block to the sums of `N` inputs.
///
/// # Safety
/// Row and inputs have such a block.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
unsafe fn add_block<const BITS: usize, const IS_TABLE: bool, const N: usize>(
    bytes: *const u8,
    words: &Words,
    block: usize,
    inputs: &[RoundedInput<'_, i16>],
    sums: &mut [__m512; N],
) {
    // SAFETY: the caller's.
    unsafe {
        let bytes = bytes.add(block * ROUNDED_TOGETHER / 8 * BITS);
        let weights = words.block::<BITS, IS_TABLE>(bytes);
        for (sum, input) in sums.iter_mut().zip(inputs) {
            let x = input.values.as_ptr().add(block * ROUNDED_TOGETHER);
            let x = _mm512_loadu_si512(x.cast::<__m512i>());
            // Two products of 31 bits to a lane.
            let products = _mm512_madd_epi16(weights, x);
            let scale = _mm512_set1_ps(*input.scales.as_ptr().add(block));
            *sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(products), scale, *sum);
        }
    }
}

/// How 32 codes become words of 16 bits.
struct Words {
    /// What codes stand for, twice.
    table: __m512i,
    /// The eight bytes in which the codes of each four words lie.
    bytes: __m512i,
    /// Where in these each of them begins.
    starts: __m512i,
}

impl Words {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    fn new<const BITS: usize>(table: Option<&IntegerTable>) -> Self {
        let mut twice = _mm512_setzero_si512();
        if let Some(table) = table {
            let [first, second] = &table.bytes;
            // SAFETY: sixteen bytes each.
            let (first, second) = unsafe {
                (
                    _mm_loadu_si128(first.as_ptr().cast::<__m128i>()),
                    _mm_loadu_si128(second.as_ptr().cast::<__m128i>()),
                )
            };
            let words = _mm256_set_m128i(
                _mm_unpackhi_epi8(first, second),
                _mm_unpacklo_epi8(first, second),
            );
            twice = _mm512_broadcast_i64x4(words);
        }
        let places = const { &Places::of(BITS) };
        // SAFETY: 64 bytes each.
        unsafe {
            Self {
                table: twice,
                bytes: _mm512_loadu_si512(places.bytes.as_ptr().cast::<__m512i>()),
                starts: _mm512_loadu_si512(places.starts.as_ptr().cast::<__m512i>()),
            }
        }
    }

    /// What the 32 codes at `bytes` stand for, or they themselves.
    ///
    /// # Safety
    /// 16 bytes can be read, and 32 of codes wider than 4 bits.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    unsafe fn block<const BITS: usize, const IS_TABLE: bool>(&self, bytes: *const u8) -> __m512i {
        // SAFETY: the caller's.
        let stored = unsafe {
            if BITS <= 4 {
                _mm512_castsi128_si512(_mm_loadu_si128(bytes.cast::<__m128i>()))
            } else {
                _mm512_castsi256_si512(_mm256_loadu_si256(bytes.cast::<__m256i>()))
            }
        };
        let spread = _mm512_permutexvar_epi8(self.bytes, stored);
        let codes = _mm512_multishift_epi64_epi8(self.starts, spread);
        if IS_TABLE {
            // Five bits of an index count, and the table stands there twice.
            return _mm512_permutexvar_epi16(codes, self.table);
        }
        _mm512_and_si512(codes, _mm512_set1_epi16((1 << BITS) - 1))
    }
}

/// Where the words of [`Words::block`] lie.
struct Places {
    bytes: [u8; 64],
    starts: [u8; 64],
}

impl Places {
    #[expect(clippy::cast_possible_truncation, reason = "below 64")]
    const fn of(bits: usize) -> Self {
        let (mut bytes, mut starts) = ([0; 64], [0; 64]);
        let mut word = 0;
        while word < ROUNDED_TOGETHER {
            // Four words are eight bytes of a register, which begin with the byte in which the first of them begins.
            let first = word / 4 * 4 * bits;
            let mut byte = 0;
            while word.is_multiple_of(4) && byte < 8 {
                bytes[2 * word + byte] = (first / 8 + byte) as u8;
                byte += 1;
            }
            starts[2 * word] = (first % 8 + word % 4 * bits) as u8;
            word += 1;
        }
        Self { bytes, starts }
    }
}
