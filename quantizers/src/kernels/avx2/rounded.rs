//! Rows of whole numbers with rounded inputs: products are summed exactly over a block, which has a scale.

#![expect(unsafe_code, reason = "instructions found at run time")]

use super::lookup::across_eight;
use crate::kernels::codes::{CodeRows, PackedCodes};
use crate::kernels::inputs::{ROUNDED_TOGETHER, RoundedInput};
use crate::kernels::table::IntegerTable;
use std::arch::x86_64::{
    __m256, __m256i, _mm256_add_ps, _mm256_cvtepi32_ps, _mm256_fmadd_ps, _mm256_loadu_ps,
    _mm256_mul_ps, _mm256_set1_ps, _mm256_setzero_ps, _mm256_storeu_ps,
};

/// How codes become whole numbers, and are multiplied.
pub(super) trait Weights {
    /// Of a code.
    const BITS: usize;
    /// What inputs are rounded to.
    type Input;
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

/// Sums of each of `rows` with `N` inputs, one, two or four, `sums[r · count + n]`. One row after the other: codes are then one stream, which
/// the processor reads ahead by itself.
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
            let found = unsafe { row_totals::<W, N>(codes, row, inputs) };
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
fn add_rest<T>(codes: &PackedCodes, row: usize, inputs: &[RoundedInput<'_, T>], sums: &mut [f32]) {
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
unsafe fn row_totals<W: Weights, const N: usize>(
    codes: &PackedCodes,
    row: usize,
    inputs: &[RoundedInput<'_, W::Input>],
) -> [__m256; N] {
    // SAFETY: the features are those of this function.
    let weights = unsafe { W::new(codes.integers(row)) };
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
                add_block(bytes, &weights, block, values, scales, even);
                add_block(bytes, &weights, block + 1, values, scales, odd);
                block += 2;
            }
            if block < blocks.end {
                let [even, _] = &mut parts;
                add_block(bytes, &weights, block, values, scales, even);
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
