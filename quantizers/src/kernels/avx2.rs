//! Sums with AVX2, FMA and F16C: eight weights at a time.
//!
//! Eight codes of `b` bits are `b` bytes. They are broadcast to all lanes, shifted into place and looked up: tables of
//! up to 8 values by one permutation of a register, larger ones in memory; codes that are their own values are converted.
//! Codes of four bits are looked up byte by byte of what they stand for, 32 at a time, in half the time; their inputs are
//! put in the order in which that leaves them.
//!
//! Of many inputs a row is looked up once into memory and multiplied from there, in the same order as for one input.

#[cfg(target_arch = "x86_64")]
mod halves;
#[cfg(target_arch = "x86_64")]
mod lookup;
#[cfg(target_arch = "x86_64")]
mod nibbles;
#[cfg(target_arch = "x86_64")]
mod rounded;
#[cfg(target_arch = "x86_64")]
mod rows;
#[cfg(target_arch = "x86_64")]
mod tiles;

use super::code_row::CodeRow;
use super::codes::{CodeRows, PackedCodes};
use super::inputs::{ROUNDED_TOGETHER, RoundedInput};
use super::kernel::Kernel;

pub(super) struct Avx2;

#[cfg(not(target_arch = "x86_64"))]
impl Kernel for Avx2 {
    fn name(&self) -> &'static str {
        "avx2"
    }
    fn is_available(&self) -> bool {
        false
    }
    fn codes(&self, _: &CodeRows<'_>, _: &[&[f32]], _: &[&[f32]], _: &mut [f32]) {
        unreachable!("not on this machine")
    }
    fn rounded(&self, _: &CodeRows<'_>, _: &[RoundedInput<'_>], _: &mut [f32]) {
        unreachable!("not on this machine")
    }
    fn halves(&self, _: &[u16], _: &[&[f32]], _: &mut [f32]) {
        unreachable!("not on this machine")
    }
    fn brains(&self, _: &[u16], _: &[&[f32]], _: &mut [f32]) {
        unreachable!("not on this machine")
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    #![expect(unsafe_code, reason = "instructions found at run time")]

    use super::{
        Avx2, CodeRow, CodeRows, Kernel, PackedCodes, ROUNDED_TOGETHER, RoundedInput, halves,
        lookup, rounded, rows, tiles,
    };
    use crate::kernels::scalar::Scalar;
    use std::cell::RefCell;

    /// Most inputs that are multiplied with codes as these are looked up.
    const DIRECT: usize = 4;

    thread_local! {
        /// Rows that have been looked up.
        static VALUES: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
    }

    /// `$body` with the constant `$bits` being `$row.bits`.
    macro_rules! with_bits {
        ($row:expr, $bits:ident => $body:expr) => {
            match $row.bits {
                1 => with_bits!(1, $bits, $body),
                2 => with_bits!(2, $bits, $body),
                3 => with_bits!(3, $bits, $body),
                4 => with_bits!(4, $bits, $body),
                5 => with_bits!(5, $bits, $body),
                6 => with_bits!(6, $bits, $body),
                7 => with_bits!(7, $bits, $body),
                8 => with_bits!(8, $bits, $body),
                bits => unreachable!("codes of {bits} bits"),
            }
        };
        ($value:literal, $bits:ident, $body:expr) => {{
            const $bits: usize = $value;
            $body
        }};
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
            VALUES.with_borrow_mut(|values| {
                values.resize(tiles::ROWS * cols, 0.0);
                let tiles = sums.chunks_mut(tiles::ROWS * inputs.len());
                for (from, sums) in (0..rows.len()).step_by(tiles::ROWS).zip(tiles) {
                    let row = |at: usize| rows.row(from + at);
                    let height = tiles::ROWS.min(rows.len() - from);
                    for (at, values) in values.chunks_exact_mut(cols).take(height).enumerate() {
                        // SAFETY: as below.
                        unsafe { values_of_bits::<true>(&row(at), values) };
                    }
                    let of = |row: usize| &values[row * cols..(row + 1) * cols];
                    // SAFETY: the features were found by `is_available`; lengths were checked above.
                    unsafe {
                        match height {
                            1 => by_tiles([0].map(of), [0].map(row), inputs, group_sums, sums),
                            2 => {
                                by_tiles([0, 1].map(of), [0, 1].map(row), inputs, group_sums, sums);
                            }
                            _ => by_tiles(
                                [0, 1, 2].map(of),
                                [0, 1, 2].map(row),
                                inputs,
                                group_sums,
                                sums,
                            ),
                        }
                    }
                }
            });
        }

        fn values(&self, row: &CodeRow<'_>, out: &mut [f32]) {
            assert!(out.len() == row.cols);
            check(row);
            // SAFETY: the features were found by `is_available`; lengths were checked above.
            unsafe { values_of_bits::<false>(row, out) }
        }

        fn halves(&self, row: &[u16], inputs: &[&[f32]], sums: &mut [f32]) {
            words::<true>(row, inputs, sums);
        }

        fn brains(&self, row: &[u16], inputs: &[&[f32]], sums: &mut [f32]) {
            words::<false>(row, inputs, sums);
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
        assert!(
            row.integers
                .is_none_or(|table| table.len() == entries && entries <= 16)
        );
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

    /// `sums[r · inputs + n]` of `R` rows.
    #[target_feature(enable = "avx2,fma,f16c")]
    fn by_tiles<const R: usize>(
        values: [&[f32]; R],
        rows: [CodeRow<'_>; R],
        inputs: &[&[f32]],
        group_sums: &[&[f32]],
        sums: &mut [f32],
    ) {
        let count = inputs.len();
        for from in (0..count).step_by(tiles::INPUTS) {
            let to = (from + tiles::INPUTS).min(count);
            let (inputs, group_sums) = (&inputs[from..to], &group_sums[from..to]);
            let mut put = |r: usize, found: &[f32]| {
                sums[r * count + from..r * count + to].copy_from_slice(found);
            };
            // SAFETY: the caller has checked the lengths.
            unsafe {
                match to - from {
                    1 => (0..R)
                        .zip(tiles::tile::<R, 1>(rows, values, inputs, group_sums))
                        .for_each(|(r, found)| put(r, &found)),
                    _ => (0..R)
                        .zip(tiles::tile::<R, 2>(rows, values, inputs, group_sums))
                        .for_each(|(r, found)| put(r, &found)),
                }
            }
        }
    }

    fn words<const IS_F16: bool>(row: &[u16], inputs: &[&[f32]], sums: &mut [f32]) {
        let inputs = inputs.chunks(halves::INPUTS);
        for (inputs, sums) in inputs.zip(sums.chunks_mut(halves::INPUTS)) {
            for input in inputs {
                assert_eq!(input.len(), row.len());
            }
            // SAFETY: the features were found by `is_available`; the lengths are equal.
            unsafe {
                match inputs.len() {
                    1 => halves::words::<IS_F16, 1>(row, inputs, sums),
                    2 => halves::words::<IS_F16, 2>(row, inputs, sums),
                    _ => halves::words::<IS_F16, 3>(row, inputs, sums),
                }
            }
        }
    }
}
