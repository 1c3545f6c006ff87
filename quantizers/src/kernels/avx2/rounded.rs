//! Rows of whole numbers with rounded inputs: products are summed exactly over a block, which has a scale.

#![expect(unsafe_code, reason = "instructions found at run time")]

use super::lookup::across_eight;
use crate::kernels::codes::{CodeRows, PackedCodes};
use crate::kernels::inputs::{Integer, ROUNDED_TOGETHER, RoundedInput};
use crate::kernels::table::IntegerTable;
use std::arch::x86_64::{
    __m256, __m256i, _MM_HINT_T0, _mm_prefetch, _mm_set_ss, _mm256_add_ps, _mm256_cvtepi32_ps,
    _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_mul_ps, _mm256_set1_ps, _mm256_setzero_ps,
    _mm256_storeu_ps, _mm256_zextps128_ps256,
};
use std::ops::Range;

/// Bytes that are read from memory together.
const LINE: usize = 64;
/// How far ahead of what is multiplied codes are fetched.
const AHEAD: usize = 4096;

/// How codes become whole numbers, and are multiplied.
pub(super) trait Weights {
    /// Of a code.
    const BITS: usize;
    /// Whether tables have offsets.
    const HAVE_OFFSETS: bool;
    /// What inputs are rounded to.
    type Input: Integer;
    /// Thirty-two weights.
    type Block: Copy;

    /// Of the rows of `table`, or of codes that are their own values.
    ///
    /// # Safety
    /// As [`sums`].
    unsafe fn new(table: Option<&IntegerTable>) -> Self;
    /// What the 32 codes at `bytes` stand for, or they themselves.
    ///
    /// # Safety
    /// 16 bytes can be read, and behind the first 16 codes.
    unsafe fn block(&self, bytes: *const u8) -> Self::Block;
    /// Eight sums of products with the 32 inputs at `x`, in the order of these weights.
    ///
    /// # Safety
    /// There are 32.
    unsafe fn products(block: Self::Block, x: *const Self::Input) -> __m256i;
}

/// Sums of each of `rows` with `N` inputs, one, two or four, `sums[r · count + n]`. One row after the other: codes are then
/// one stream, which the processor reads ahead by itself.
///
/// # Safety
/// Inputs and groups are as long as the rows say, groups are whole blocks, and 16 bytes can be read behind their codes.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn sums<W: Weights, const N: usize>(
    rows: &CodeRows<'_>,
    inputs: &[RoundedInput<'_, W::Input>],
    sums: &mut [f32],
    count: usize,
) {
    let codes = rows.codes;
    let whole = codes.cols() / ROUNDED_TOGETHER * ROUNDED_TOGETHER;
    let have_rest = whole < codes.cols() || codes.has_zeros();
    let inputs = &inputs[..N];
    let mut at = 0;
    while at < rows.len() {
        // The lanes of eight registers are summed in the time of two.
        let height = (8 / N).min(rows.len() - at);
        let mut totals = [_mm256_setzero_ps(); 8];
        let mut scales = [1.0; 8];
        for r in 0..height {
            let row = rows.number(at + r);
            let table = codes.integers(row);
            if let Some(table) = table {
                scales[r * N..(r + 1) * N].fill(table.scale);
            }
            // SAFETY: the caller's.
            let found = unsafe { row_totals::<W, N>(codes, row, table, inputs) };
            totals[r * N..(r + 1) * N].copy_from_slice(&found);
        }
        let mut found = [0.0; 8];
        // SAFETY: eight values each.
        unsafe {
            let scales = _mm256_loadu_ps(scales.as_ptr());
            let sums = _mm256_mul_ps(scales, across_eight(&totals));
            _mm256_storeu_ps(found.as_mut_ptr(), sums);
        }
        let sums = &mut sums[at * count..];
        for r in 0..height {
            sums[r * count..r * count + N].copy_from_slice(&found[r * N..(r + 1) * N]);
        }
        if have_rest {
            // What is left over after whole blocks, and zeros.
            for r in 0..height {
                let row = codes.row(rows.number(at + r));
                for (sum, input) in sums[r * count..].iter_mut().zip(inputs) {
                    *sum += row.rest(whole, input.input, &input.group_sums);
                }
            }
        }
        at += height;
    }
}

/// Products of whole blocks of a row with each input, in lanes.
///
/// # Safety
/// As [`sums`].
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn row_totals<W: Weights, const N: usize>(
    codes: &PackedCodes,
    row: usize,
    table: Option<&IntegerTable>,
    inputs: &[RoundedInput<'_, W::Input>],
) -> [__m256; N] {
    let stored = codes.bytes_of(row);
    for line in (0..stored.len()).step_by(LINE) {
        // The processor reads ahead by itself, but no further than to the end of a page of 4 KiB.
        _mm_prefetch::<_MM_HINT_T0>(stored.as_ptr().wrapping_add(AHEAD + line).cast());
    }
    let bytes = stored.as_ptr();
    let offset = table.map_or(0.0, |table| table.offset);
    // SAFETY: the features are those of this function.
    let weights = unsafe { W::new(table) };
    let values: [_; N] = std::array::from_fn(|n| inputs[n].values.as_ptr());
    let scales: [_; N] = std::array::from_fn(|n| inputs[n].scales.as_ptr());
    let group = |group: usize, blocks: Range<usize>| {
        // Two sums, so that one need not wait for the other.
        let mut parts = [[_mm256_setzero_ps(); N]; 2];
        if W::HAVE_OFFSETS {
            for (part, input) in parts[0].iter_mut().zip(inputs) {
                let offset = _mm_set_ss(offset * input.group_sums[group]);
                *part = _mm256_zextps128_ps256(offset);
            }
        }
        let mut block = blocks.start;
        // SAFETY: a block of codes takes 4 BITS bytes, and inputs have as many blocks as the row.
        unsafe {
            while block + 2 <= blocks.end {
                let [even, odd] = &mut parts;
                add_block(bytes, &weights, block, values, scales, even);
                add_block(bytes, &weights, block + 1, values, scales, odd);
                block += 2;
            }
            if block < blocks.end {
                let [even, _] = &mut parts;
                add_block(bytes, &weights, block, values, scales, even);
            }
        }
        let [even, odd] = parts;
        let sums: [_; N] = std::array::from_fn(|n| _mm256_add_ps(even[n], odd[n]));
        sums
    };
    let (cols, group_scales) = (codes.cols(), codes.scales(row));
    if group_scales.is_empty() {
        return group(0, 0..cols / ROUNDED_TOGETHER);
    }
    let mut totals = [_mm256_setzero_ps(); N];
    let mut from = 0;
    for (at, scale) in group_scales.iter().enumerate() {
        let to = (from + codes.group_size).min(cols);
        let sums = group(at, from / ROUNDED_TOGETHER..to / ROUNDED_TOGETHER);
        let scale = _mm256_set1_ps(*scale);
        for (total, sum) in totals.iter_mut().zip(sums) {
            *total = _mm256_fmadd_ps(scale, sum, *total);
        }
        from = to;
    }
    totals
}

/// Adds the products of a block to the sums of `N` inputs.
///
/// # Safety
/// Row and inputs have such a block.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn add_block<W: Weights, const N: usize>(
    bytes: *const u8,
    weights: &W,
    block: usize,
    values: [*const W::Input; N],
    scales: [*const f32; N],
    sums: &mut [__m256; N],
) {
    // SAFETY: the caller's.
    unsafe {
        let weights = weights.block(bytes.add(block * ROUNDED_TOGETHER / 8 * W::BITS));
        for n in 0..N {
            let products = W::products(weights, values[n].add(block * ROUNDED_TOGETHER));
            let scale = _mm256_set1_ps(*scales[n].add(block));
            sums[n] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(products), scale, sums[n]);
        }
    }
}
