//! Rows of codes with a few inputs: codes are looked up, and never written anywhere.

#![expect(
    unsafe_code,
    reason = "instructions found at run time, whose loads take pointers of any alignment"
)]

use super::lookup::{Lookup, across};
use crate::kernels::codes::CodeRow;
use std::arch::x86_64::{
    _mm256_add_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_set1_ps, _mm256_setzero_ps,
    _mm256_storeu_ps,
};

/// Sums of `row` with `N` inputs.
///
/// # Safety
/// Inputs and groups are as long as the row says, groups begin with whole bytes, and 8 bytes can be read behind its codes.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn row_sums<const BITS: usize, const N: usize>(
    row: &CodeRow<'_>,
    inputs: &[&[f32]],
    group_sums: &[&[f32]],
    sums: &mut [f32],
) {
    let lookup = Lookup::new::<BITS>(row.table);
    let mut totals = [_mm256_setzero_ps(); N];
    let mut rest = [0.0_f32; N];
    for (group, from) in (0..row.cols).step_by(row.group_size).enumerate() {
        let to = (from + row.group_size).min(row.cols);
        let whole = from + (to - from) / 8 * 8;
        let pairs = from + (to - from) / 16 * 16;
        let mut even = [_mm256_setzero_ps(); N];
        let mut odd = [_mm256_setzero_ps(); N];
        let mut at = from;
        // SAFETY: `at + 8 <= cols`, eight codes take BITS bytes, and 8 can be read behind the last.
        unsafe {
            while at < pairs {
                let bytes = row.bytes.as_ptr().add(at / 8 * BITS);
                let weights = lookup.eight::<BITS>(bytes);
                for (sum, input) in even.iter_mut().zip(inputs) {
                    let x = _mm256_loadu_ps(input.as_ptr().add(at));
                    *sum = _mm256_fmadd_ps(weights, x, *sum);
                }
                let weights = lookup.eight::<BITS>(bytes.add(BITS));
                for (sum, input) in odd.iter_mut().zip(inputs) {
                    let x = _mm256_loadu_ps(input.as_ptr().add(at + 8));
                    *sum = _mm256_fmadd_ps(weights, x, *sum);
                }
                at += 16;
            }
            if at < whole {
                let weights = lookup.eight::<BITS>(row.bytes.as_ptr().add(at / 8 * BITS));
                for (sum, input) in even.iter_mut().zip(inputs) {
                    let x = _mm256_loadu_ps(input.as_ptr().add(at));
                    *sum = _mm256_fmadd_ps(weights, x, *sum);
                }
            }
        }
        let scale = row.scale(group);
        let has_rest = whole < to || row.has_zeros();
        for n in 0..N {
            let part = _mm256_add_ps(even[n], odd[n]);
            totals[n] = _mm256_fmadd_ps(_mm256_set1_ps(scale), part, totals[n]);
            if has_rest {
                rest[n] += row.rest(group, whole..to, inputs[n], group_sums[n]);
            }
        }
    }
    for n in 0..N {
        sums[n] = across(totals[n]) + rest[n];
    }
}

/// Values of the codes of `row`, without zero and scale.
///
/// # Safety
/// `out` is as long as the row, and 8 bytes can be read behind its codes.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn values<const BITS: usize>(row: &CodeRow<'_>, out: &mut [f32]) {
    let lookup = Lookup::new::<BITS>(row.table);
    let whole = row.cols / 8 * 8;
    let mut from = 0;
    if BITS == 4 && row.table.is_some() {
        from = row.cols / 32 * 32;
        for at in (0..from).step_by(32) {
            // SAFETY: 32 codes are 16 bytes, and as many values have room.
            unsafe {
                let bytes = row.bytes.as_ptr().add(at / 2);
                lookup.thirty_two(bytes, out.as_mut_ptr().add(at));
            }
        }
    }
    for at in (from..whole).step_by(8) {
        // SAFETY: as above.
        unsafe {
            let values = lookup.eight::<BITS>(row.bytes.as_ptr().add(at / 8 * BITS));
            _mm256_storeu_ps(out.as_mut_ptr().add(at), values);
        }
    }
    for (at, value) in out.iter_mut().enumerate().skip(whole) {
        *value = row.value(at);
    }
}
