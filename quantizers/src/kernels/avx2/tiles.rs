//! Rows of codes with many inputs: a few rows that have been looked up with two inputs at a time, each in the order in
//! which [`rows`](super::rows) sums one row with one input.

#![expect(
    unsafe_code,
    reason = "instructions found at run time, whose loads take pointers of any alignment"
)]

use super::lookup::across;
use super::rows::add_rest;
use crate::kernels::code_row::CodeRow;
use std::arch::x86_64::{
    __m256, _mm256_add_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_set1_ps, _mm256_setzero_ps,
};

/// Rows of a tile.
pub(super) const ROWS: usize = 3;
/// Inputs of a tile: twelve registers for sums, and one for each row.
pub(super) const INPUTS: usize = 2;

/// `sums[r][n]` of `R` rows, which have the same groups, with `N` inputs; `values` are those of the codes.
///
/// # Safety
/// Values, inputs and groups are as long as the rows say, and groups begin with whole bytes.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn tile<const R: usize, const N: usize>(
    rows: [CodeRow<'_>; R],
    values: [&[f32]; R],
    inputs: &[&[f32]],
    group_sums: &[&[f32]],
) -> [[f32; N]; R] {
    let (cols, group_size) = (rows[0].cols, rows[0].group_size);
    let mut totals = [[_mm256_setzero_ps(); N]; R];
    for (group, from) in (0..cols).step_by(group_size).enumerate() {
        let to = (from + group_size).min(cols);
        let whole = from + (to - from) / 8 * 8;
        let pairs = from + (to - from) / 16 * 16;
        let mut even = [[_mm256_setzero_ps(); N]; R];
        let mut odd = [[_mm256_setzero_ps(); N]; R];
        let mut at = from;
        // SAFETY: `at + 8 <= cols`.
        unsafe {
            while at < pairs {
                add_eight(&mut even, values, inputs, at);
                add_eight(&mut odd, values, inputs, at + 8);
                at += 16;
            }
            if at < whole {
                add_eight(&mut even, values, inputs, at);
            }
        }
        for r in 0..R {
            let scale = _mm256_set1_ps(rows[r].scale(group));
            for n in 0..N {
                let part = _mm256_add_ps(even[r][n], odd[r][n]);
                totals[r][n] = _mm256_fmadd_ps(scale, part, totals[r][n]);
            }
        }
    }
    let mut sums = [[0.0; N]; R];
    for r in 0..R {
        sums[r] = totals[r].map(|total| across(total));
        add_rest(&rows[r], inputs, group_sums, &mut sums[r]);
    }
    sums
}

/// Adds the products of columns `at` to `at + 8`.
///
/// # Safety
/// There are such columns.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn add_eight<const R: usize, const N: usize>(
    sums: &mut [[__m256; N]; R],
    values: [&[f32]; R],
    inputs: &[&[f32]],
    at: usize,
) {
    // SAFETY: the caller's.
    unsafe {
        let mut weights = [_mm256_setzero_ps(); R];
        for r in 0..R {
            weights[r] = _mm256_loadu_ps(values[r].as_ptr().add(at));
        }
        for n in 0..N {
            let x = _mm256_loadu_ps(inputs[n].as_ptr().add(at));
            for r in 0..R {
                sums[r][n] = _mm256_fmadd_ps(weights[r], x, sums[r][n]);
            }
        }
    }
}
