//! Rows of whole numbers with rounded inputs: products of 16 bits are summed in 32, two at a time.

#![expect(
    unsafe_code,
    clippy::cast_ptr_alignment,
    reason = "instructions found at run time, whose loads take pointers of any alignment"
)]

use super::lookup::across_eight;
use super::nibbles;
use crate::kernels::codes::{CodeRows, PackedCodes};
use crate::kernels::inputs::{ROUNDED_TOGETHER, RoundedInput};
use crate::kernels::table::IntegerTable;
use std::arch::x86_64::{
    __m128i, __m256, __m256i, _mm_loadu_si128, _mm256_add_epi32, _mm256_add_ps, _mm256_and_si256,
    _mm256_broadcastsi128_si256, _mm256_cvtepi32_ps, _mm256_fmadd_ps, _mm256_loadu_ps,
    _mm256_loadu_si256, _mm256_madd_epi16, _mm256_mul_ps, _mm256_mullo_epi16, _mm256_or_si256,
    _mm256_set1_epi8, _mm256_set1_ps, _mm256_setzero_ps, _mm256_setzero_si256, _mm256_shuffle_epi8,
    _mm256_slli_epi16, _mm256_srli_epi16, _mm256_storeu_ps, _mm256_unpackhi_epi8,
    _mm256_unpacklo_epi8,
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

/// Sums of each of `rows` with `N` inputs, one, two or four, `sums[r · count + n]`. One row after the other: codes are then one stream, which
/// the processor reads ahead by itself.
///
/// # Safety
/// Inputs and groups are as long as the rows say, groups are whole blocks, and 16 bytes can be read behind their codes.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn sums<const BITS: usize, const IS_TABLE: bool, const N: usize>(
    rows: &CodeRows<'_>,
    inputs: &[RoundedInput<'_>],
    sums: &mut [f32],
    count: usize,
) {
    let codes = rows.codes;
    let mut at = 0;
    while at < rows.len() {
        // The lanes of eight registers are summed in the time of two.
        let height = (8 / N).min(rows.len() - at);
        let mut totals = [_mm256_setzero_ps(); 8];
        let mut scales = [0.0; 8];
        for r in 0..height {
            let row = rows.number(at + r);
            scales[r * N..(r + 1) * N].fill(codes.integer_scale(row));
            // SAFETY: the caller's.
            let found = unsafe { row_totals::<BITS, IS_TABLE, N>(codes, row, inputs) };
            totals[r * N..(r + 1) * N].copy_from_slice(&found);
        }
        let mut found = [0.0; 8];
        // SAFETY: eight values each.
        unsafe {
            let scales = _mm256_loadu_ps(scales.as_ptr());
            let sums = _mm256_mul_ps(scales, across_eight(&totals));
            _mm256_storeu_ps(found.as_mut_ptr(), sums);
        }
        let of_rows = sums[at * count..].chunks_mut(count).take(height);
        for ((r, found), sums) in found.chunks_exact(N).enumerate().zip(of_rows) {
            let sums = &mut sums[..N];
            sums.copy_from_slice(found);
            add_rest(codes, rows.number(at + r), inputs, sums);
        }
        at += height;
    }
}

/// Adds what is left over after whole blocks, and takes off the zeros.
#[inline]
fn add_rest(codes: &PackedCodes, row: usize, inputs: &[RoundedInput<'_>], sums: &mut [f32]) {
    let whole = codes.cols() / ROUNDED_TOGETHER * ROUNDED_TOGETHER;
    if whole < codes.cols() || codes.has_zeros() {
        let row = codes.row(row);
        for (sum, input) in sums.iter_mut().zip(inputs) {
            *sum += row.rest(whole, input.input, &input.group_sums);
        }
    }
}

/// Products of whole blocks of a row with each input, in lanes.
///
/// # Safety
/// As [`sums`].
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn row_totals<const BITS: usize, const IS_TABLE: bool, const N: usize>(
    codes: &PackedCodes,
    row: usize,
    inputs: &[RoundedInput<'_>],
) -> [__m256; N] {
    let words = Words::new::<BITS>(codes.integers(row));
    let bytes = codes.bytes_of(row).as_ptr();
    let group_scales = codes.scales(row);
    let values: [_; N] = std::array::from_fn(|n| inputs[n].values.as_ptr());
    let scales: [_; N] = std::array::from_fn(|n| inputs[n].scales.as_ptr());
    let (cols, group_size) = (codes.cols(), codes.group_size);
    let mut totals = [_mm256_setzero_ps(); N];
    let (mut group, mut from) = (0, 0);
    while from < cols {
        let to = (from + group_size).min(cols);
        let blocks = from / ROUNDED_TOGETHER..to / ROUNDED_TOGETHER;
        // Two sums, so that one need not wait for the other.
        let mut parts = [[_mm256_setzero_ps(); N]; 2];
        let mut block = blocks.start;
        // SAFETY: a block of codes takes 4 BITS bytes, and inputs have as many blocks as the row.
        unsafe {
            while block + 2 <= blocks.end {
                let [even, odd] = &mut parts;
                add_block::<BITS, IS_TABLE, N>(bytes, &words, block, values, scales, even);
                add_block::<BITS, IS_TABLE, N>(bytes, &words, block + 1, values, scales, odd);
                block += 2;
            }
            if block < blocks.end {
                let [even, _] = &mut parts;
                add_block::<BITS, IS_TABLE, N>(bytes, &words, block, values, scales, even);
            }
        }
        let scale = _mm256_set1_ps(group_scales.get(group).copied().unwrap_or(1.0));
        for n in 0..N {
            let part = _mm256_add_ps(parts[0][n], parts[1][n]);
            totals[n] = _mm256_fmadd_ps(scale, part, totals[n]);
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
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn add_block<const BITS: usize, const IS_TABLE: bool, const N: usize>(
    bytes: *const u8,
    words: &Words,
    block: usize,
    values: [*const i16; N],
    scales: [*const f32; N],
    sums: &mut [__m256; N],
) {
    // SAFETY: the caller's.
    unsafe {
        let bytes = bytes.add(block * ROUNDED_TOGETHER / 8 * BITS);
        let [first, second] = words.block::<BITS, IS_TABLE>(bytes);
        for n in 0..N {
            let x = values[n].add(block * ROUNDED_TOGETHER).cast::<__m256i>();
            let sum = _mm256_add_epi32(
                _mm256_madd_epi16(first, _mm256_loadu_si256(x)),
                _mm256_madd_epi16(second, _mm256_loadu_si256(x.add(1))),
            );
            let scale = _mm256_set1_ps(*scales[n].add(block));
            sums[n] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), scale, sums[n]);
        }
    }
}

/// How 32 codes become two registers of 16-bit words.
struct Words {
    /// Lower and upper bytes of what codes stand for.
    tables: [__m256i; 2],
    /// The bytes in which the code, or the pair of codes, of each word lies.
    bytes: __m256i,
    /// What moves it to the top of its word.
    factors: __m256i,
}

impl Words {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    fn new<const BITS: usize>(table: Option<&IntegerTable>) -> Self {
        let mut tables = [_mm256_setzero_si256(); 2];
        if let Some(table) = table {
            for (register, bytes) in tables.iter_mut().zip(&table.bytes) {
                // SAFETY: sixteen bytes.
                *register = unsafe {
                    _mm256_broadcastsi128_si256(_mm_loadu_si128(bytes.as_ptr().cast::<__m128i>()))
                };
            }
        }
        let places = const { &Places::of(BITS) };
        // SAFETY: 32 bytes each.
        let (bytes, factors) = unsafe {
            (
                _mm256_loadu_si256(places.bytes.as_ptr().cast::<__m256i>()),
                _mm256_loadu_si256(places.factors.as_ptr().cast::<__m256i>()),
            )
        };
        Self {
            tables,
            bytes,
            factors,
        }
    }

    /// What the 32 codes at `bytes` stand for, or they themselves.
    ///
    /// # Safety
    /// 16 bytes can be read, and behind the first 16 codes.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn block<const BITS: usize, const IS_TABLE: bool>(
        &self,
        bytes: *const u8,
    ) -> [__m256i; 2] {
        // SAFETY: the caller's.
        unsafe {
            if BITS > 4 {
                return [
                    self.apart::<BITS>(bytes),
                    self.apart::<BITS>(bytes.add(2 * BITS)),
                ];
            }
            let codes = if BITS == 4 {
                nibbles::halves_apart::<false>(bytes)
            } else {
                let pairs = self.apart::<BITS>(bytes);
                let second = match BITS {
                    1 => _mm256_slli_epi16::<7>(pairs),
                    2 => _mm256_slli_epi16::<6>(pairs),
                    _ => _mm256_slli_epi16::<5>(pairs),
                };
                let code = _mm256_set1_epi8((1 << BITS) - 1);
                _mm256_and_si256(_mm256_or_si256(pairs, second), code)
            };
            let [lower, upper] = if IS_TABLE {
                let [lower, upper] = self.tables;
                [
                    _mm256_shuffle_epi8(lower, codes),
                    _mm256_shuffle_epi8(upper, codes),
                ]
            } else {
                [codes, _mm256_setzero_si256()]
            };
            [
                _mm256_unpacklo_epi8(lower, upper),
                _mm256_unpackhi_epi8(lower, upper),
            ]
        }
    }

    /// The 16 codes, or pairs of codes, at `bytes`, one to a word.
    ///
    /// # Safety
    /// 16 bytes can be read.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn apart<const BITS: usize>(&self, bytes: *const u8) -> __m256i {
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

/// Where sixteen words of [`Words::apart`] lie.
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

/// Bits of a word of [`Words::apart`]: two codes where they are looked up as bytes, else one.
const fn width(bits: usize) -> usize {
    if bits < 4 { 2 * bits } else { bits }
}
