//! Rows of codes of up to four bits with up to eight inputs, as f32.

#![expect(
    unsafe_code,
    reason = "instructions found at run time, whose loads take pointers of any alignment"
)]

use super::lookup::{Lookup, TOGETHER as SIXTEEN};
use super::quads::{EIGHT, FOUR, LANES, Quads, table_of};
use super::totals::{LaneGroups, sum_lanes};
use crate::kernels::codes::{CodeRows, PackedCodes};
use std::arch::x86_64::{
    __m512, __m512i, _MM_HINT_T1, _mm_prefetch, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_mul_ps,
    _mm512_set1_ps, _mm512_setzero_ps,
};

/// Codes of which a lane holds four.
const BLOCK: usize = LANES * FOUR;
/// How far ahead of what is multiplied codes are fetched.
const AHEAD: usize = 8192;

/// `sums[r · count + n]` of `rows` with `N` inputs in the order of [`super::quads::ORDER`], `R` rows at a time: the sum of
/// each is one chain of additions, and as many of them have to be under way as keep the processor from waiting.
///
/// # Safety
/// Inputs and groups are as long as the rows say, and 16 bytes can be read behind the codes of a row.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
pub(super) unsafe fn sums<const BITS: usize, const R: usize, const N: usize>(
    rows: &CodeRows<'_>,
    inputs: &[&[f32]],
    group_sums: &[&[f32]],
    sums: &mut [f32],
    count: usize,
) {
    let codes = rows.codes;
    let whole = codes.cols() / SIXTEEN * SIXTEEN;
    let has_rest = whole < codes.cols() || codes.has_zeros();
    let quads = Quads::new::<BITS>();
    let inputs_at: [_; N] = std::array::from_fn(|n| inputs[n].as_ptr());
    let mut at = 0;
    while at < rows.len() {
        let here = R.min(rows.len() - at);
        let first = rows.number(at);
        // SAFETY: the caller's.
        let totals = unsafe {
            if here == R {
                totals::<BITS, R, N>(&quads, codes, first, inputs_at)
            } else {
                let mut totals = [[_mm512_setzero_ps(); N]; R];
                for (r, totals) in totals.iter_mut().enumerate().take(here) {
                    [*totals] = self::totals::<BITS, 1, N>(&quads, codes, first + r, inputs_at);
                }
                totals
            }
        };
        let sums = &mut sums[at * count..];
        sum_lanes(&totals, here, sums, count);
        if has_rest {
            for r in 0..here {
                let row = codes.row(first + r);
                let sums = &mut sums[r * count..];
                for (sum, (input, group_sums)) in sums.iter_mut().zip(inputs.iter().zip(group_sums)) {
                    *sum += row.rest(whole, input, group_sums);
                }
            }
        }
        at += here;
    }
}

/// Products of whole sixteens of `R` rows from `first` on with each input, in lanes.
///
/// # Safety
/// As [`sums`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
unsafe fn totals<const BITS: usize, const R: usize, const N: usize>(
    quads: &Quads,
    codes: &PackedCodes,
    first: usize,
    inputs: [*const f32; N],
) -> [[__m512; N]; R] {
    let tables: [_; R] = std::array::from_fn(|r| table_of::<BITS>(codes.table(first + r)));
    let bytes: [_; R] = std::array::from_fn(|r| codes.bytes_of(first + r).as_ptr());
    let (cols, group_size) = (codes.cols(), codes.group_size);
    let scales: [_; R] = std::array::from_fn(|r| codes.scales(first + r));
    let mut totals = [[_mm512_setzero_ps(); N]; R];
    // Every two blocks of 64, which are one of 128, and then the one that may be left.
    let whole = cols / (2 * BLOCK) * (2 * BLOCK);
    let add = |parts: &mut [[__m512; N]; R], at: usize| {
        // SAFETY: 64 codes take 8 BITS bytes.
        let here: [_; R] = std::array::from_fn(|r| unsafe { bytes[r].add(at / 8 * BITS) });
        // SAFETY: inputs have as many blocks as the rows.
        unsafe {
            for bytes in here {
                // The processor reads ahead by itself, but too little beside so much that is computed.
                _mm_prefetch::<_MM_HINT_T1>(bytes.wrapping_add(AHEAD).cast());
            }
            if at < whole {
                let lanes = here.map(|bytes| quads.eights::<BITS>(bytes));
                add_lanes::<BITS, EIGHT, R, N>(lanes, &tables, inputs.map(|x| x.add(at)), parts);
            } else {
                let lanes = here.map(|bytes| quads.fours::<BITS>(bytes));
                add_lanes::<BITS, FOUR, R, N>(lanes, &tables, inputs.map(|x| x.add(at)), parts);
            }
        }
    };
    let blocks = (0..whole).step_by(2 * BLOCK);
    let last = (whole + BLOCK <= cols).then_some(whole);
    if scales[0].is_empty() {
        for at in blocks.chain(last) {
            add(&mut totals, at);
        }
    } else if group_size < 2 * BLOCK {
        for at in blocks.chain(last) {
            let mut parts = [[_mm512_setzero_ps(); N]; R];
            add(&mut parts, at);
            let codes_of_lane = if at < whole { EIGHT } else { FOUR };
            let groups = LaneGroups::new(group_size / codes_of_lane);
            for r in 0..R {
                let scale = groups.scales(&scales[r][at / group_size..]);
                for n in 0..N {
                    totals[r][n] = _mm512_fmadd_ps(scale, parts[r][n], totals[r][n]);
                }
            }
        }
    } else {
        for (group, from) in (0..cols).step_by(group_size).enumerate() {
            let mut parts = [[_mm512_setzero_ps(); N]; R];
            let to = (from + group_size).min(cols);
            for at in (from..to.min(whole)).step_by(2 * BLOCK) {
                add(&mut parts, at);
            }
            if let Some(last) = last.filter(|last| (from..to).contains(last)) {
                add(&mut parts, last);
            }
            for r in 0..R {
                let scale = _mm512_set1_ps(scales[r][group]);
                for n in 0..N {
                    totals[r][n] = _mm512_fmadd_ps(scale, parts[r][n], totals[r][n]);
                }
            }
        }
    }
    let whole = last.map_or(whole, |last| last + BLOCK);
    if whole + SIXTEEN <= cols {
        for r in 0..R {
            let lookup = Lookup::new::<BITS>(codes.table(first + r));
            for at in (whole..cols / SIXTEEN * SIXTEEN).step_by(SIXTEEN) {
                let scale = scales[r].get(at / group_size).copied().unwrap_or(1.0);
                // SAFETY: sixteen codes take 2 BITS bytes, and inputs stand as they came behind whole 64s.
                unsafe {
                    let weights = lookup.sixteen::<BITS>(bytes[r].add(at / 8 * BITS));
                    let weights = _mm512_mul_ps(_mm512_set1_ps(scale), weights);
                    for n in 0..N {
                        let x = _mm512_loadu_ps(inputs[n].add(at));
                        totals[r][n] = _mm512_fmadd_ps(weights, x, totals[r][n]);
                    }
                }
            }
        }
    }
    totals
}

/// Adds the products of the `STEPS` codes of each of `lanes` to `R` rows of sums of `N` inputs.
///
/// # Safety
/// As many inputs can be read as there are codes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
unsafe fn add_lanes<const BITS: usize, const STEPS: usize, const R: usize, const N: usize>(
    lanes: [__m512i; R],
    tables: &[__m512; R],
    inputs: [*const f32; N],
    sums: &mut [[__m512; N]; R],
) {
    for step in 0..STEPS {
        let weights: [_; R] =
            std::array::from_fn(|r| Quads::values::<BITS>(lanes[r], step, tables[r]));
        for n in 0..N {
            // SAFETY: the caller's.
            let x = unsafe { _mm512_loadu_ps(inputs[n].add(step * LANES)) };
            for r in 0..R {
                sums[r][n] = _mm512_fmadd_ps(weights[r], x, sums[r][n]);
            }
        }
    }
}
