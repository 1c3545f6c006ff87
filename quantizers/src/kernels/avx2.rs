//! Sums with AVX2, FMA and F16C: eight weights at a time.
//!
//! Eight codes of `b` bits are `b` bytes. They are broadcast to all lanes, shifted into place and looked up: tables of
//! up to 8 values by one permutation of a register, larger ones in memory; codes that are their own values are converted.
//! Codes of four bits are looked up byte by byte of what they stand for, 32 at a time, in half the time; their inputs are
//! put in the order in which that leaves them.

#![expect(unsafe_code, reason = "instructions found at run time")]

mod halves;
mod lookup;
mod nibbles;
mod rounded;
mod rows;

use super::by_bits::with_bits;
use super::checks::{check_floats, check_rounded, check_row, check_words};
use super::code_row::CodeRow;
use super::codes::{CodeRows, PackedCodes};
use super::inputs::{ROUNDED_TOGETHER, RoundedInput};
use super::kernel::Kernel;
use super::scalar::Scalar;
use std::ops::Range;

pub(super) struct Avx2;

/// Most inputs whose sums have room in registers.
const INPUTS: usize = 4;

impl Kernel for Avx2 {
    fn name(&self) -> &'static str {
        "avx2"
    }

    fn is_available(&self) -> bool {
        is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c")
    }

    fn order(&self, codes: &PackedCodes) -> Option<&'static [usize; 8]> {
        (codes.bits == 4 && eights_lie_in_groups(codes)).then_some(&lookup::NIBBLES_ORDER)
    }

    fn rounded_order(&self, codes: &PackedCodes) -> Option<&'static [usize; ROUNDED_TOGETHER]> {
        match codes.bits {
            1..=3 => Some(&rounded::PAIRS_ORDER),
            4 => Some(&rounded::NIBBLES_ORDER),
            _ => None,
        }
    }

    fn rounded(&self, rows: &CodeRows<'_>, inputs: &[RoundedInput<'_>], sums: &mut [f32]) {
        check_rounded(rows, inputs);
        let count = inputs.len();
        for few in few(count) {
            let (inputs, sums) = (&inputs[few.clone()], &mut sums[few.start..]);
            // SAFETY: the features were found by `is_available`; lengths were checked above.
            unsafe {
                match inputs.len() {
                    1 => rounded_of_bits::<1>(rows, inputs, sums, count),
                    2 => rounded_of_bits::<2>(rows, inputs, sums, count),
                    _ => rounded_of_bits::<INPUTS>(rows, inputs, sums, count),
                }
            }
        }
    }

    fn codes(
        &self,
        rows: &CodeRows<'_>,
        inputs: &[&[f32]],
        group_sums: &[&[f32]],
        sums: &mut [f32],
    ) {
        if !eights_lie_in_groups(rows.codes) {
            // Groups that do not begin with a whole byte are rare enough for the plain kernel.
            return Scalar.codes(rows, inputs, group_sums, sums);
        }
        check_floats(rows, inputs, group_sums);
        let count = inputs.len();
        for few in few(count) {
            let (inputs, group_sums) = (&inputs[few.clone()], &group_sums[few.clone()]);
            let sums = &mut sums[few.start..];
            // SAFETY: the features were found by `is_available`; lengths were checked above.
            unsafe {
                match inputs.len() {
                    1 => of_bits::<1>(rows, inputs, group_sums, sums, count),
                    2 => of_bits::<2>(rows, inputs, group_sums, sums, count),
                    _ => of_bits::<INPUTS>(rows, inputs, group_sums, sums, count),
                }
            }
        }
    }

    fn values(&self, row: &CodeRow<'_>, out: &mut [f32]) {
        assert!(out.len() == row.cols);
        check_row(row);
        // SAFETY: the features were found by `is_available`; lengths were checked above.
        unsafe { values_of_bits(row, out) }
    }

    fn halves(&self, rows: &[u16], inputs: &[&[f32]], sums: &mut [f32]) {
        words::<true>(rows, inputs, sums);
    }

    fn brains(&self, rows: &[u16], inputs: &[&[f32]], sums: &mut [f32]) {
        words::<false>(rows, inputs, sums);
    }
}

fn eights_lie_in_groups(codes: &PackedCodes) -> bool {
    codes.groups_per_row() == 1 || codes.group_size.is_multiple_of(8)
}

#[target_feature(enable = "avx2,fma,f16c")]
fn of_bits<const N: usize>(
    rows: &CodeRows<'_>,
    inputs: &[&[f32]],
    group_sums: &[&[f32]],
    sums: &mut [f32],
    count: usize,
) {
    // SAFETY: the caller has checked the lengths.
    unsafe {
        with_bits!(rows.codes, BITS =>
            rows::sums::<BITS, N>(rows, inputs, group_sums, sums, count));
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn values_of_bits(row: &CodeRow<'_>, out: &mut [f32]) {
    // SAFETY: the caller has checked the lengths.
    unsafe { with_bits!(row, BITS => rows::values::<BITS>(row, out)) }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn rounded_of_bits<const N: usize>(
    rows: &CodeRows<'_>,
    inputs: &[RoundedInput<'_>],
    sums: &mut [f32],
    count: usize,
) {
    // SAFETY: the caller has checked the lengths.
    unsafe {
        if rows.codes.have_tables() {
            assert_eq!(rows.codes.bits, 4, "the only tables of whole numbers");
            rounded::sums::<4, true, N>(rows, inputs, sums, count);
        } else {
            with_bits!(rows.codes, BITS => rounded::sums::<BITS, false, N>(rows, inputs, sums, count));
        }
    }
}

/// Rows of 16-bit floats.
fn words<const IS_F16: bool>(rows: &[u16], inputs: &[&[f32]], sums: &mut [f32]) {
    let (cols, count) = (check_words(rows, inputs, sums), inputs.len());
    if cols == 0 {
        return sums.fill(0.0);
    }
    for (row, sums) in rows.chunks_exact(cols).zip(sums.chunks_exact_mut(count)) {
        for few in few(count) {
            let (inputs, sums) = (&inputs[few.clone()], &mut sums[few]);
            // SAFETY: the features were found by `is_available`; the lengths are equal.
            unsafe {
                match inputs.len() {
                    1 => halves::words::<IS_F16, 1>(row, inputs, sums),
                    2 => halves::words::<IS_F16, 2>(row, inputs, sums),
                    _ => halves::words::<IS_F16, INPUTS>(row, inputs, sums),
                }
            }
        }
    }
}

/// `count` inputs, [`INPUTS`], two or one at a time.
fn few(count: usize) -> impl Iterator<Item = Range<usize>> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let few = match count - from {
            0 => return None,
            1 => 1,
            2 | 3 => 2,
            _ => INPUTS,
        };
        from += few;
        Some(from - few..from)
    })
}
