//! Sums with AVX2, FMA and F16C: eight weights at a time.
//!
//! Eight codes of `b` bits are `b` bytes. They are broadcast to all lanes, shifted into place and looked up: tables of
//! up to 8 values by one permutation of a register, of 16 by two and a blend, larger ones in memory; codes that are
//! their own values are converted.
//!
//! Of many inputs a row is looked up once into memory and multiplied from there, in the same order as for one input.

#[cfg(target_arch = "x86_64")]
mod halves;
#[cfg(target_arch = "x86_64")]
mod lookup;
#[cfg(target_arch = "x86_64")]
mod rows;
#[cfg(target_arch = "x86_64")]
mod tiles;

use super::codes::CodeRow;
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
    fn codes(&self, _: &CodeRow<'_>, _: &[&[f32]], _: &[&[f32]], _: &mut [f32]) {
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

    use super::{Avx2, CodeRow, Kernel, halves, rows, tiles};
    use crate::kernels::kernel::{MOST_INPUTS, codes_one_by_one};
    use crate::kernels::scalar::Scalar;
    use std::cell::RefCell;

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

        fn codes(
            &self,
            row: &CodeRow<'_>,
            inputs: &[&[f32]],
            group_sums: &[&[f32]],
            sums: &mut [f32],
        ) {
            if !begins_with_bytes(row) {
                return Scalar.codes(row, inputs, group_sums, sums);
            }
            check(row, inputs, group_sums);
            // SAFETY: the features were found by `is_available`; lengths were checked above.
            unsafe {
                match inputs.len() {
                    1 => of_bits::<1>(row, inputs, group_sums, sums),
                    2 => of_bits::<2>(row, inputs, group_sums, sums),
                    3 => of_bits::<3>(row, inputs, group_sums, sums),
                    4 => of_bits::<4>(row, inputs, group_sums, sums),
                    count => unreachable!("{count} inputs at a time"),
                }
            }
        }

        fn codes_of_rows(
            &self,
            rows: &[CodeRow<'_>],
            inputs: &[&[f32]],
            group_sums: &[&[f32]],
            sums: &mut [f32],
        ) {
            if inputs.len() <= MOST_INPUTS || !rows.iter().all(begins_with_bytes) {
                return codes_one_by_one(self, rows, inputs, group_sums, sums);
            }
            VALUES.with_borrow_mut(|values| {
                let rows = rows.chunks(tiles::ROWS);
                for (rows, sums) in rows.zip(sums.chunks_mut(tiles::ROWS * inputs.len())) {
                    let cols = rows[0].cols;
                    values.resize(tiles::ROWS * cols, 0.0);
                    for (row, values) in rows.iter().zip(values.chunks_exact_mut(cols)) {
                        check(row, inputs, group_sums);
                        self.values(row, values);
                    }
                    let of = |row: usize| &values[row * cols..(row + 1) * cols];
                    // SAFETY: the features were found by `is_available`; lengths were checked above.
                    unsafe {
                        match rows.len() {
                            1 => by_tiles([of(0)], rows, inputs, group_sums, sums),
                            2 => by_tiles([of(0), of(1)], rows, inputs, group_sums, sums),
                            _ => by_tiles([of(0), of(1), of(2)], rows, inputs, group_sums, sums),
                        }
                    }
                }
            });
        }

        fn values(&self, row: &CodeRow<'_>, out: &mut [f32]) {
            assert!(out.len() == row.cols);
            check(row, &[], &[]);
            // SAFETY: the features were found by `is_available`; lengths were checked above.
            unsafe {
                match row.bits {
                    1 => rows::values::<1>(row, out),
                    2 => rows::values::<2>(row, out),
                    3 => rows::values::<3>(row, out),
                    4 => rows::values::<4>(row, out),
                    5 => rows::values::<5>(row, out),
                    6 => rows::values::<6>(row, out),
                    7 => rows::values::<7>(row, out),
                    8 => rows::values::<8>(row, out),
                    bits => unreachable!("codes of {bits} bits"),
                }
            }
        }

        fn halves(&self, row: &[u16], inputs: &[&[f32]], sums: &mut [f32]) {
            words::<true>(row, inputs, sums);
        }

        fn brains(&self, row: &[u16], inputs: &[&[f32]], sums: &mut [f32]) {
            words::<false>(row, inputs, sums);
        }
    }

    /// Groups that do not begin with a whole byte are rare enough for the plain kernel.
    fn begins_with_bytes(row: &CodeRow<'_>) -> bool {
        row.group_size >= row.cols || row.group_size.is_multiple_of(8)
    }

    /// What the kernels rely on.
    fn check(row: &CodeRow<'_>, inputs: &[&[f32]], group_sums: &[&[f32]]) {
        let groups = row.cols.div_ceil(row.group_size);
        for (input, group_sums) in inputs.iter().zip(group_sums) {
            assert!(input.len() == row.cols && group_sums.len() >= groups);
        }
        assert!(row.bytes.len() >= (row.cols * usize::from(row.bits)).div_ceil(8) + 8);
        assert!(row.table.is_none_or(|table| table.len() == 1 << row.bits));
    }

    #[target_feature(enable = "avx2,fma,f16c")]
    fn of_bits<const N: usize>(
        row: &CodeRow<'_>,
        inputs: &[&[f32]],
        group_sums: &[&[f32]],
        sums: &mut [f32],
    ) {
        // SAFETY: the caller has checked the lengths.
        unsafe {
            match row.bits {
                1 => rows::row_sums::<1, N>(row, inputs, group_sums, sums),
                2 => rows::row_sums::<2, N>(row, inputs, group_sums, sums),
                3 => rows::row_sums::<3, N>(row, inputs, group_sums, sums),
                4 => rows::row_sums::<4, N>(row, inputs, group_sums, sums),
                5 => rows::row_sums::<5, N>(row, inputs, group_sums, sums),
                6 => rows::row_sums::<6, N>(row, inputs, group_sums, sums),
                7 => rows::row_sums::<7, N>(row, inputs, group_sums, sums),
                8 => rows::row_sums::<8, N>(row, inputs, group_sums, sums),
                bits => unreachable!("codes of {bits} bits"),
            }
        }
    }

    /// `sums[r · inputs + n]` of `R` rows.
    #[target_feature(enable = "avx2,fma,f16c")]
    fn by_tiles<const R: usize>(
        values: [&[f32]; R],
        rows: &[CodeRow<'_>],
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
