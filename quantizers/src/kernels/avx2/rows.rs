//! Rows of codes with a few inputs: codes are looked up, and never written anywhere.

#![expect(
    unsafe_code,
    reason = "instructions found at run time, whose loads take pointers of any alignment"
)]

use super::lookup::{Lookup, across_eight};
use crate::kernels::code_row::CodeRow;
use crate::kernels::codes::{CodeRows, PackedCodes};
use std::arch::x86_64::{
    __m256, _mm256_add_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_set1_ps, _mm256_setzero_ps,
    _mm256_storeu_ps,
};

/// `sums[r · count + n]` of `rows` with `N` inputs, one, two or four. One row after the other: codes are then one stream,
/// which the processor reads ahead by itself.
///
/// # Safety
/// Inputs and groups are as long as the rows say, groups begin with whole bytes, and 16 bytes can be read behind their
/// codes.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn sums<const BITS: usize, const N: usize>(
    rows: &CodeRows<'_>,
    inputs: &[&[f32]],
    group_sums: &[&[f32]],
    sums: &mut [f32],
    count: usize,
) {
    let codes = rows.codes;
    let has_rest = !codes.cols().is_multiple_of(8) || codes.has_zeros();
    let mut at = 0;
    while at < rows.len() {
        // The lanes of eight registers are summed in the time of two.
        let height = (8 / N).min(rows.len() - at);
        let mut totals = [_mm256_setzero_ps(); 8];
        for r in 0..height {
            // SAFETY: the caller's.
            let found = unsafe { row_totals::<BITS, N>(codes, rows.number(at + r), inputs) };
            totals[r * N..(r + 1) * N].copy_from_slice(&found);
        }
        let mut found = [0.0; 8];
        // SAFETY: eight values.
        unsafe { _mm256_storeu_ps(found.as_mut_ptr(), across_eight(&totals)) };
        let of_rows = sums[at * count..].chunks_mut(count).take(height);
        for ((r, found), sums) in found.chunks_exact(N).enumerate().zip(of_rows) {
            let sums = &mut sums[..N];
            sums.copy_from_slice(found);
            if has_rest {
                add_rest(&codes.row(rows.number(at + r)), inputs, group_sums, sums);
            }
        }
        at += height;
    }
}

/// Products of whole eights of a row with each input, in lanes.
///
/// # Safety
/// As [`sums`].
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn row_totals<const BITS: usize, const N: usize>(
    codes: &PackedCodes,
    row: usize,
    inputs: &[&[f32]],
) -> [__m256; N] {
    let lookup = Lookup::new::<BITS>(codes.table(row));
    let bytes = codes.bytes_of(row).as_ptr();
    let group_scales = codes.scales(row);
    let inputs_at: [_; N] = std::array::from_fn(|n| inputs[n].as_ptr());
    let (cols, group_size) = (codes.cols(), codes.group_size);
    let mut totals = [_mm256_setzero_ps(); N];
    let (mut group, mut from) = (0, 0);
    while from < cols {
        let to = (from + group_size).min(cols);
        let whole = from + (to - from) / 8 * 8;
        let pairs = from + (to - from) / 16 * 16;
        let mut even = [_mm256_setzero_ps(); N];
        let mut odd = [_mm256_setzero_ps(); N];
        let mut at = from;
        // SAFETY: `at + 8 <= cols`, eight codes take BITS bytes, and 8 can be read behind the last.
        unsafe {
            while BITS == 4 && at + 32 <= pairs {
                let bytes = bytes.add(at / 2);
                let [first, second, third, fourth] = if N > 2 {
                    lookup.thirty_two::<true>(bytes)
                } else {
                    lookup.thirty_two::<false>(bytes)
                };
                for n in 0..N {
                    let x = inputs_at[n].add(at);
                    even[n] = _mm256_fmadd_ps(first, _mm256_loadu_ps(x), even[n]);
                    odd[n] = _mm256_fmadd_ps(second, _mm256_loadu_ps(x.add(8)), odd[n]);
                }
                for n in 0..N {
                    let x = inputs_at[n].add(at + 16);
                    even[n] = _mm256_fmadd_ps(third, _mm256_loadu_ps(x), even[n]);
                    odd[n] = _mm256_fmadd_ps(fourth, _mm256_loadu_ps(x.add(8)), odd[n]);
                }
                at += 32;
            }
            while at < pairs {
                let bytes = bytes.add(at / 8 * BITS);
                let weights = lookup.eight::<BITS>(bytes);
                for n in 0..N {
                    let x = _mm256_loadu_ps(inputs_at[n].add(at));
                    even[n] = _mm256_fmadd_ps(weights, x, even[n]);
                }
                let weights = lookup.eight::<BITS>(bytes.add(BITS));
                for n in 0..N {
                    let x = _mm256_loadu_ps(inputs_at[n].add(at + 8));
                    odd[n] = _mm256_fmadd_ps(weights, x, odd[n]);
                }
                at += 16;
            }
            if at < whole {
                let weights = lookup.eight::<BITS>(bytes.add(at / 8 * BITS));
                for n in 0..N {
                    let x = _mm256_loadu_ps(inputs_at[n].add(at));
                    even[n] = _mm256_fmadd_ps(weights, x, even[n]);
                }
            }
        }
        let scale = _mm256_set1_ps(group_scales.get(group).copied().unwrap_or(1.0));
        for n in 0..N {
            totals[n] = _mm256_fmadd_ps(scale, _mm256_add_ps(even[n], odd[n]), totals[n]);
        }
        (group, from) = (group + 1, to);
    }
    totals
}

/// Adds what is left over after whole eights, and takes off the zeros.
#[inline]
fn add_rest(row: &CodeRow<'_>, inputs: &[&[f32]], group_sums: &[&[f32]], sums: &mut [f32]) {
    let whole = row.cols / 8 * 8;
    for (sum, (input, group_sums)) in sums.iter_mut().zip(inputs.iter().zip(group_sums)) {
        *sum += row.rest(whole, input, group_sums);
    }
}

/// Values of the codes of `row`, without zero and scale.
///
/// # Safety
/// `out` is as long as the row, and 16 bytes can be read behind its codes.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn values<const BITS: usize>(row: &CodeRow<'_>, out: &mut [f32]) {
    let lookup = Lookup::new::<BITS>(row.table);
    let step = if BITS == 4 { 32 } else { 8 };
    let whole = row.cols / step * step;
    for at in (0..whole).step_by(step) {
        // SAFETY: the codes of a step are whole bytes, and as many values have room.
        unsafe {
            let (bytes, out) = (
                row.bytes.as_ptr().add(at / 8 * BITS),
                out.as_mut_ptr().add(at),
            );
            if BITS == 4 {
                let values = lookup.thirty_two_as_they_come(bytes);
                for (eight, values) in values.into_iter().enumerate() {
                    _mm256_storeu_ps(out.add(8 * eight), values);
                }
            } else {
                _mm256_storeu_ps(out, lookup.eight::<BITS>(bytes));
            }
        }
    }
    for (at, value) in out.iter_mut().enumerate().skip(whole) {
        *value = row.value(at);
    }
}
