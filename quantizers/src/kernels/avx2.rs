//! Sums with AVX2, FMA and F16C: eight weights at a time.
//!
//! Eight codes of `b` bits are `b` bytes. They are broadcast to all lanes, shifted into place and looked up: tables of
//! up to 8 values by one permutation of a register, larger ones in memory; codes that are their own values are converted.
//! Codes of four bits are looked up byte by byte of what they stand for, 32 at a time, in half the time; their inputs are
//! put in the order in which that leaves them.

#![expect(unsafe_code, reason = "instructions found at run time")]

mod apart;
mod halves;
mod int16;
mod int8;
mod lookup;
mod nibbles;
mod rounded;
mod rows;

pub(super) use lookup::across_eight;

use super::by_bits::with_bits;
use super::checks::{check_floats, check_rounded, check_row, check_words};
use super::code_row::CodeRow;
use super::codes::{CodeRows, PackedCodes};
use super::inputs::{ROUNDED_TOGETHER, RoundedInput};
use super::kernel::Kernel;
use super::order::Order;
use super::scalar::Scalar;
use int8::Int8;
use int16::Int16;
use rounded::Weights;
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

    fn order(&self, codes: &PackedCodes) -> Order {
        if codes.bits == 4 && eights_lie_in_groups(codes) {
            Order {
                blocks: &[&lookup::NIBBLES_ORDER],
                is_padded: false,
            }
        } else {
            Order::AS_THEY_COME
        }
    }

    fn int16_order(&self, codes: &PackedCodes) -> Option<&'static [usize; ROUNDED_TOGETHER]> {
        match codes.bits {
            1..=3 => Some(&int16::PAIRS_ORDER),
            4 => Some(&int16::NIBBLES_ORDER),
            _ => None,
        }
    }

    fn int16(&self, rows: &CodeRows<'_>, inputs: &[RoundedInput<'_, i16>], sums: &mut [f32]) {
        check_rounded(rows, inputs);
        // SAFETY: the features were found by `is_available`; lengths were checked above.
        unsafe {
            if rows.codes.have_tables() {
                assert_eq!(rows.codes.bits, 4, "the only tables of 16-bit numbers");
                rounded_sums::<Int16<4, true>>(rows, inputs, sums);
            } else {
                with_bits!(rows.codes, BITS => rounded_sums::<Int16<BITS, false>>(rows, inputs, sums));
            }
        }
    }

    fn int8_order(&self, codes: &PackedCodes) -> Option<&'static [usize; ROUNDED_TOGETHER]> {
        (codes.bits == 4).then_some(&int8::NIBBLES_ORDER)
    }

    fn int8(&self, rows: &CodeRows<'_>, inputs: &[RoundedInput<'_, i8>], sums: &mut [f32]) {
        check_rounded(rows, inputs);
        // SAFETY: as above.
        unsafe {
            match (rows.codes.bits, rows.codes.have_tables()) {
                (1, false) => rounded_sums::<Int8<1, false>>(rows, inputs, sums),
                (1, true) => rounded_sums::<Int8<1, true>>(rows, inputs, sums),
                (2, false) => rounded_sums::<Int8<2, false>>(rows, inputs, sums),
                (2, true) => rounded_sums::<Int8<2, true>>(rows, inputs, sums),
                (3, false) => rounded_sums::<Int8<3, false>>(rows, inputs, sums),
                (3, true) => rounded_sums::<Int8<3, true>>(rows, inputs, sums),
                (4, false) => rounded_sums::<Int8<4, false>>(rows, inputs, sums),
                (4, true) => rounded_sums::<Int8<4, true>>(rows, inputs, sums),
                (bits, _) => unreachable!("codes of {bits} bits as numbers of 8"),
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
        check_floats(rows, inputs, group_sums, 1);
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

/// Rows of whole numbers.
#[target_feature(enable = "avx2,fma,f16c")]
fn rounded_sums<W: Weights>(
    rows: &CodeRows<'_>,
    inputs: &[RoundedInput<'_, W::Input>],
    sums: &mut [f32],
) {
    let count = inputs.len();
    for few in few(count) {
        let (inputs, sums) = (&inputs[few.clone()], &mut sums[few.start..]);
        // SAFETY: the caller has checked the lengths.
        unsafe {
            match inputs.len() {
                1 => rounded::sums::<W, 1>(rows, inputs, sums, count),
                2 => rounded::sums::<W, 2>(rows, inputs, sums, count),
                _ => rounded::sums::<W, INPUTS>(rows, inputs, sums, count),
            }
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
