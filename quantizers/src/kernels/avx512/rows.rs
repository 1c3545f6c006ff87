//! Rows of codes with up to eight inputs: codes are looked up once, and never written anywhere.

#![expect(
    unsafe_code,
    reason = "instructions found at run time, whose loads take pointers of any alignment"
)]

use super::lookup::{Lookup, TOGETHER};
use crate::kernels::code_row::CodeRow;
use crate::kernels::codes::{CodeRows, PackedCodes};
use std::arch::x86_64::{
    __m512, _mm512_add_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_reduce_add_ps, _mm512_set1_ps,
    _mm512_setzero_ps, _mm512_storeu_ps,
};

/// `sums[r · count + n]` of `rows` with `N` inputs.
///
/// # Safety
/// Inputs and groups are as long as the rows say, groups are whole sixteens, and 16 bytes can be read behind their codes.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
pub(super) unsafe fn sums<const BITS: usize, const N: usize>(
    rows: &CodeRows<'_>,
    inputs: &[&[f32]],
    group_sums: &[&[f32]],
    sums: &mut [f32],
    count: usize,
) {
    let codes = rows.codes;
    let whole = codes.cols() / TOGETHER * TOGETHER;
    let has_rest = whole < codes.cols() || codes.has_zeros();
    for at in 0..rows.len() {
        let number = rows.number(at);
        // SAFETY: the caller's.
        let totals = unsafe { row_totals::<BITS, N>(codes, number, inputs) };
        let sums = &mut sums[at * count..at * count + N];
        for (sum, total) in sums.iter_mut().zip(totals) {
            *sum = _mm512_reduce_add_ps(total);
        }
        if has_rest {
            let row = codes.row(number);
            for (sum, (input, group_sums)) in sums.iter_mut().zip(inputs.iter().zip(group_sums)) {
                *sum += row.rest(whole, input, group_sums);
            }
        }
    }
}

/// Products of whole sixteens of a row with each input, in lanes.
///
/// # Safety
/// As [`sums`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
unsafe fn row_totals<const BITS: usize, const N: usize>(
    codes: &PackedCodes,
    row: usize,
    inputs: &[&[f32]],
) -> [__m512; N] {
    let lookup = Lookup::new::<BITS>(codes.table(row));
    let bytes = codes.bytes_of(row).as_ptr();
    let group_scales = codes.scales(row);
    let inputs_at: [_; N] = std::array::from_fn(|n| inputs[n].as_ptr());
    let (cols, group_size) = (codes.cols(), codes.group_size);
    let mut totals = [_mm512_setzero_ps(); N];
    let (mut group, mut from) = (0, 0);
    while from < cols {
        let to = (from + group_size).min(cols);
        let whole = from + (to - from) / TOGETHER * TOGETHER;
        // Two sums, so that one need not wait for the other.
        let mut even = [_mm512_setzero_ps(); N];
        let mut odd = [_mm512_setzero_ps(); N];
        let mut at = from;
        // SAFETY: `at + 16 <= cols`, and sixteen codes take 2 BITS bytes.
        unsafe {
            while at + 2 * TOGETHER <= whole {
                let weights = lookup.sixteen::<BITS>(bytes.add(at / 8 * BITS));
                for n in 0..N {
                    let x = _mm512_loadu_ps(inputs_at[n].add(at));
                    even[n] = _mm512_fmadd_ps(weights, x, even[n]);
                }
                let weights = lookup.sixteen::<BITS>(bytes.add(at / 8 * BITS + 2 * BITS));
                for n in 0..N {
                    let x = _mm512_loadu_ps(inputs_at[n].add(at + TOGETHER));
                    odd[n] = _mm512_fmadd_ps(weights, x, odd[n]);
                }
                at += 2 * TOGETHER;
            }
            if at < whole {
                let weights = lookup.sixteen::<BITS>(bytes.add(at / 8 * BITS));
                for n in 0..N {
                    let x = _mm512_loadu_ps(inputs_at[n].add(at));
                    even[n] = _mm512_fmadd_ps(weights, x, even[n]);
                }
            }
        }
        let scale = _mm512_set1_ps(group_scales.get(group).copied().unwrap_or(1.0));
        for n in 0..N {
            totals[n] = _mm512_fmadd_ps(scale, _mm512_add_ps(even[n], odd[n]), totals[n]);
        }
        (group, from) = (group + 1, to);
    }
    totals
}

/// Values of the codes of `row`, without zero and scale.
///
/// # Safety
/// `out` is as long as the row, and 16 bytes can be read behind its codes.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
pub(super) unsafe fn values<const BITS: usize>(row: &CodeRow<'_>, out: &mut [f32]) {
    let lookup = Lookup::new::<BITS>(row.table);
    let whole = row.cols / TOGETHER * TOGETHER;
    for at in (0..whole).step_by(TOGETHER) {
        // SAFETY: sixteen codes are 2 BITS bytes, and as many values have room.
        unsafe {
            let values = lookup.sixteen::<BITS>(row.bytes.as_ptr().add(at / 8 * BITS));
            _mm512_storeu_ps(out.as_mut_ptr().add(at), values);
        }
    }
    for (at, value) in out.iter_mut().enumerate().skip(whole) {
        *value = row.value(at);
    }
}
