//! Sums with AVX2, FMA and F16C: eight weights at a time.
//!
//! Eight codes of `b` bits are `b` bytes. They are broadcast to all lanes, shifted into place and looked up: tables of
//! up to 8 values by one permutation of a register, larger ones in memory; codes that are their own values are converted.
//! Codes of four bits are looked up byte by byte of what they stand for, 32 at a time, in half the time; their inputs are
//! put in the order in which that leaves them.
//!
//! Of many inputs a row is looked up once into memory and multiplied from there, in the same order as for one input.

#![expect(unsafe_code, reason = "instructions found at run time")]

mod halves;
mod lookup;
mod nibbles;
mod rounded;
mod rows;
mod tiles;

use super::by_bits::with_bits;
use super::code_row::CodeRow;
use super::codes::{CodeRows, PackedCodes};
use super::inputs::{ROUNDED_TOGETHER, RoundedInput};
use super::kernel::Kernel;
use super::scalar::Scalar;
use std::cell::RefCell;

pub(super) struct Avx2;

/// Most inputs that are multiplied with codes as these are looked up.
const DIRECT: usize = 4;

thread_local! {
    /// Rows that have been looked up.
    static VALUES: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

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
        check_rows(rows);
        let (blocks, groups) = (
            rows.codes.cols() / ROUNDED_TOGETHER,
            rows.codes.groups_per_row(),
        );
        for input in inputs {
            assert!(input.values.len() == blocks * ROUNDED_TOGETHER);
            assert!(input.scales.len() == blocks && input.group_sums.len() == groups);
        }
        let count = inputs.len();
        for (at, few) in inputs.chunks(DIRECT).enumerate() {
            let sums = &mut sums[at * DIRECT..];
            // SAFETY: the features were found by `is_available`; lengths were checked above.
            unsafe {
                match few.len() {
                    1 => rounded_of_bits::<1>(rows, few, sums, count),
                    2 => rounded_of_bits::<2>(rows, few, sums, count),
                    3 => rounded_of_bits::<3>(rows, few, sums, count),
                    _ => rounded_of_bits::<DIRECT>(rows, few, sums, count),
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
        check_rows(rows);
        let (cols, groups) = (rows.codes.cols(), rows.codes.groups_per_row());
        for (input, group_sums) in inputs.iter().zip(group_sums) {
            assert!(input.len() == cols && group_sums.len() == groups);
        }
        // SAFETY: the features were found by `is_available`; lengths were checked above.
        unsafe {
            match inputs.len() {
                1 => return of_bits::<1>(rows, inputs, group_sums, sums),
                2 => return of_bits::<2>(rows, inputs, group_sums, sums),
                3 => return of_bits::<3>(rows, inputs, group_sums, sums),
                DIRECT => return of_bits::<DIRECT>(rows, inputs, group_sums, sums),
                _ => {}
            }
        }
        let codes = rows.codes;
        let decode = |row: usize, values: &mut [f32]| {
            // SAFETY: as above.
            unsafe { values_of_bits::<true>(&rows.row(row), values) };
        };
        let scales = |row: usize| codes.scales(rows.number(row));
        let count = inputs.len();
        by_tiles(cols, codes.group_size, (decode, scales), inputs, sums);
        if cols % 8 > 0 || codes.has_zeros() {
            for (row, sums) in rows.iter().zip(sums.chunks_exact_mut(count)) {
                rows::add_rest(&row, inputs, group_sums, sums);
            }
        }
    }

    fn values(&self, row: &CodeRow<'_>, out: &mut [f32]) {
        assert!(out.len() == row.cols);
        check(row);
        // SAFETY: the features were found by `is_available`; lengths were checked above.
        unsafe { values_of_bits::<false>(row, out) }
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

/// What the kernels rely on; rows of a matrix are all alike.
fn check_rows(rows: &CodeRows<'_>) {
    if rows.len() > 0 {
        check(&rows.row(0));
    }
}

fn check(row: &CodeRow<'_>) {
    assert!(row.bytes.len() >= (row.cols * usize::from(row.bits)).div_ceil(8) + 16);
    let entries = 1 << row.bits;
    assert!(row.table.is_none_or(|table| table.len() == entries));
    assert!(row.integers.is_none() || row.bits <= 4);
}

#[target_feature(enable = "avx2,fma,f16c")]
fn of_bits<const N: usize>(
    rows: &CodeRows<'_>,
    inputs: &[&[f32]],
    group_sums: &[&[f32]],
    sums: &mut [f32],
) {
    // SAFETY: the caller has checked the lengths.
    unsafe {
        with_bits!(rows.codes, BITS => rows::sums::<BITS, N>(rows, inputs, group_sums, sums));
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn values_of_bits<const IS_ORDERED: bool>(row: &CodeRow<'_>, out: &mut [f32]) {
    // SAFETY: the caller has checked the lengths.
    unsafe { with_bits!(row, BITS => rows::values::<BITS, IS_ORDERED>(row, out)) }
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

/// `sums[r · inputs + n]` of whole eights of rows `[cols]` that `decode` writes and that have `scales`.
fn by_tiles<'a>(
    cols: usize,
    group_size: usize,
    (decode, scales): (impl Fn(usize, &mut [f32]), impl Fn(usize) -> &'a [f32]),
    inputs: &[&[f32]],
    sums: &mut [f32],
) {
    let count = inputs.len();
    VALUES.with_borrow_mut(|values| {
        values.resize(tiles::ROWS * cols, 0.0);
        for (at, sums) in sums.chunks_mut(tiles::ROWS * count).enumerate() {
            let (first, height) = (at * tiles::ROWS, sums.len() / count);
            for (row, values) in values.chunks_exact_mut(cols).take(height).enumerate() {
                decode(first + row, values);
            }
            let of = |row: usize| &values[row * cols..(row + 1) * cols];
            let scales = |row: usize| scales(first + row);
            match height {
                1 => tile([0].map(of), [0].map(scales), group_size, inputs, sums),
                2 => tile([0, 1].map(of), [0, 1].map(scales), group_size, inputs, sums),
                _ => {
                    let all = [0, 1, 2];
                    tile(all.map(of), all.map(scales), group_size, inputs, sums);
                }
            }
        }
    });
}

/// `sums[r · inputs + n]` of `R` rows.
fn tile<const R: usize>(
    values: [&[f32]; R],
    scales: [&[f32]; R],
    group_size: usize,
    inputs: &[&[f32]],
    sums: &mut [f32],
) {
    let tile = tiles::Tile {
        values,
        scales,
        group_size,
    };
    let count = inputs.len();
    for (at, inputs) in inputs.chunks(tiles::INPUTS).enumerate() {
        // SAFETY: the features were found by `is_available`, and callers have checked the lengths.
        let found = unsafe { tiles::sums(tile, inputs) };
        for (sums, found) in sums.chunks_exact_mut(count).zip(&found) {
            sums[at * tiles::INPUTS..][..inputs.len()].copy_from_slice(&found[..inputs.len()]);
        }
    }
}

/// Rows of 16-bit floats.
fn words<const IS_F16: bool>(rows: &[u16], inputs: &[&[f32]], sums: &mut [f32]) {
    let (cols, count) = (inputs.first().map_or(0, |input| input.len()), inputs.len());
    assert!(inputs.iter().all(|input| input.len() == cols));
    assert_eq!(rows.len() * count, sums.len() * cols, "whole rows");
    if cols == 0 {
        return sums.fill(0.0);
    }
    let each = rows.chunks_exact(cols);
    if count <= DIRECT {
        for (row, sums) in each.zip(sums.chunks_exact_mut(count)) {
            // SAFETY: the features were found by `is_available`; the lengths are equal.
            unsafe {
                match count {
                    1 => halves::words::<IS_F16, 1>(row, inputs, sums),
                    2 => halves::words::<IS_F16, 2>(row, inputs, sums),
                    3 => halves::words::<IS_F16, 3>(row, inputs, sums),
                    _ => halves::words::<IS_F16, DIRECT>(row, inputs, sums),
                }
            }
        }
        return;
    }
    let decode = |row: usize, values: &mut [f32]| {
        // SAFETY: as above.
        unsafe { halves::values::<IS_F16>(&rows[row * cols..(row + 1) * cols], values) };
    };
    by_tiles(cols, cols, (decode, |_| -> &[f32] { &[] }), inputs, sums);
    if cols % 8 > 0 {
        for (row, sums) in each.zip(sums.chunks_exact_mut(count)) {
            for (sum, input) in sums.iter_mut().zip(inputs) {
                *sum += halves::rest::<IS_F16>(row, input);
            }
        }
    }
}
