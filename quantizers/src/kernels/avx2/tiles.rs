//! Rows whose values lie in memory with many inputs: a few rows with two inputs at a time, each in the order in which
//! [`rows`](super::rows) sums one row with one input.

#![expect(
    unsafe_code,
    reason = "instructions found at run time, whose loads take pointers of any alignment"
)]

use super::lookup::across_eight;
use std::arch::x86_64::{
    __m256, _mm256_add_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_set1_ps, _mm256_setzero_ps,
    _mm256_storeu_ps,
};

/// Rows of a tile: twelve registers for sums with two inputs, and one for each row.
pub(super) const ROWS: usize = 3;
/// Inputs whose sums are taken across lanes at once.
pub(super) const INPUTS: usize = 8;

/// Rows of a tile.
#[derive(Clone, Copy)]
pub(super) struct Tile<'a, const R: usize> {
    /// `[cols]` of each.
    pub(super) values: [&'a [f32]; R],
    /// By group; empty where all are 1.
    pub(super) scales: [&'a [f32]; R],
    /// Values that share a scale.
    pub(super) group_size: usize,
}

/// `sums[r][n]` of whole eights of rows with at most [`INPUTS`] inputs.
///
/// # Safety
/// Rows and inputs are of the same length, and there is a scale for every group.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn sums<const R: usize>(
    tile: Tile<'_, R>,
    inputs: &[&[f32]],
) -> [[f32; INPUTS]; R] {
    let mut totals = [[_mm256_setzero_ps(); INPUTS]; R];
    let mut at = 0;
    // SAFETY: the caller's.
    unsafe {
        while at + 2 <= inputs.len() {
            add_all(tile, [inputs[at], inputs[at + 1]], &mut totals, at);
            at += 2;
        }
        if at < inputs.len() {
            add_all(tile, [inputs[at]], &mut totals, at);
        }
    }
    let mut sums = [[0.0; INPUTS]; R];
    for (sums, totals) in sums.iter_mut().zip(&totals) {
        // SAFETY: eight values.
        unsafe { _mm256_storeu_ps(sums.as_mut_ptr(), across_eight(totals)) };
    }
    sums
}

/// Puts the products with `N` inputs, in lanes, to places `at` and on of `totals`.
///
/// # Safety
/// As [`sums`].
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn add_all<const R: usize, const N: usize>(
    tile: Tile<'_, R>,
    inputs: [&[f32]; N],
    totals: &mut [[__m256; INPUTS]; R],
    at: usize,
) {
    let cols = tile.values[0].len();
    let values = tile.values.map(<[f32]>::as_ptr);
    let inputs = inputs.map(<[f32]>::as_ptr);
    let mut found = [[_mm256_setzero_ps(); N]; R];
    let (mut group, mut from) = (0, 0);
    while from < cols {
        let to = (from + tile.group_size).min(cols);
        let whole = from + (to - from) / 8 * 8;
        let pairs = from + (to - from) / 16 * 16;
        let mut even = [[_mm256_setzero_ps(); N]; R];
        let mut odd = [[_mm256_setzero_ps(); N]; R];
        let mut col = from;
        // SAFETY: `col + 8 <= cols`.
        unsafe {
            while col < pairs {
                add_eight(&mut even, values, inputs, col);
                add_eight(&mut odd, values, inputs, col + 8);
                col += 16;
            }
            if col < whole {
                add_eight(&mut even, values, inputs, col);
            }
        }
        for r in 0..R {
            let scale = _mm256_set1_ps(tile.scales[r].get(group).copied().unwrap_or(1.0));
            for n in 0..N {
                let part = _mm256_add_ps(even[r][n], odd[r][n]);
                found[r][n] = _mm256_fmadd_ps(scale, part, found[r][n]);
            }
        }
        (group, from) = (group + 1, to);
    }
    for r in 0..R {
        totals[r][at..at + N].copy_from_slice(&found[r]);
    }
}

/// Adds the products of columns `at` to `at + 8`.
///
/// # Safety
/// There are such columns.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn add_eight<const R: usize, const N: usize>(
    sums: &mut [[__m256; N]; R],
    values: [*const f32; R],
    inputs: [*const f32; N],
    at: usize,
) {
    // SAFETY: the caller's.
    unsafe {
        let mut weights = [_mm256_setzero_ps(); R];
        for r in 0..R {
            weights[r] = _mm256_loadu_ps(values[r].add(at));
        }
        for n in 0..N {
            let x = _mm256_loadu_ps(inputs[n].add(at));
            for r in 0..R {
                sums[r][n] = _mm256_fmadd_ps(weights[r], x, sums[r][n]);
            }
        }
    }
}
