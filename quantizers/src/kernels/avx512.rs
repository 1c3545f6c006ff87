//! Sums with AVX-512 and its byte permutations (VBMI).
//!
//! Codes of up to 4 bits are looked up 128 at a time, from the lanes of a register that holds eight in each, and multiplied
//! as f32 or, where the processor has such products, as bf16. Wider codes are picked out of eight bytes, sixteen at a time:
//! tables of 32 and 64 values take two and four registers. There is room for the sums of eight inputs, so
//! that nothing which was looked up is ever written to memory. Wider tables are looked up with AVX2.

#![expect(unsafe_code, reason = "instructions found at run time")]

mod bf16;
mod floats;
mod halves;
mod lookup;
mod many_codes;
mod rounded;
mod rows;
mod spread;
mod totals;

use super::avx2::Avx2;
use super::by_bits::with_bits;
use super::checks::{check_bf16, check_floats, check_rounded, check_row, check_words};
use super::code_row::CodeRow;
use super::codes::{CodeRows, PackedCodes};
use super::inputs::{Bf16Input, ROUNDED_TOGETHER, RoundedInput};
use super::kernel::Kernel;
use super::order::Order;
use bf16::Bf16;
use floats::Floats;
use many_codes::Arithmetic;

pub(super) struct Avx512;

/// `$body` with the constant `$n` being `$count`, of 1 to 8 inputs.
macro_rules! with_count {
    ($count:expr, $n:ident => $body:expr) => {
        match $count {
            1 => with_count!(1, $n, $body),
            2 => with_count!(2, $n, $body),
            3 => with_count!(3, $n, $body),
            4 => with_count!(4, $n, $body),
            5 => with_count!(5, $n, $body),
            6 => with_count!(6, $n, $body),
            7 => with_count!(7, $n, $body),
            _ => with_count!(8, $n, $body),
        }
    };
    ($value:literal, $n:ident, $body:expr) => {{
        const $n: usize = $value;
        $body
    }};
}

/// Bits of the widest codes whose tables have room in registers.
const TABLE_BITS: u8 = 6;
/// Most inputs whose sums have room in registers.
const INPUTS: usize = 8;

impl Kernel for Avx512 {
    fn name(&self) -> &'static str {
        "avx512"
    }

    fn is_available(&self) -> bool {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vbmi")
            && Avx2.is_available()
    }

    fn order(&self, codes: &PackedCodes) -> Order {
        match executes(codes) {
            Some(Blocks::Many) => floats::ORDER,
            Some(Blocks::Sixteens) => Order::AS_THEY_COME,
            None => Avx2.order(codes),
        }
    }

    fn int16(&self, rows: &CodeRows<'_>, inputs: &[RoundedInput<'_, i16>], sums: &mut [f32]) {
        check_rounded(rows, inputs);
        let count = inputs.len();
        for (at, few) in inputs.chunks(INPUTS).enumerate() {
            let sums = &mut sums[at * INPUTS..];
            with_count!(few.len(), N => {
                // SAFETY: the features were found by `is_available`; lengths were checked above.
                unsafe { rounded_of_bits::<N>(rows, few, sums, count) }
            });
        }
    }

    // Numbers of 8 bits have no form for wider registers: they are multiplied with AVX2.
    fn int8_order(&self, codes: &PackedCodes) -> Option<&'static [usize; ROUNDED_TOGETHER]> {
        Avx2.int8_order(codes)
    }

    fn int8(&self, rows: &CodeRows<'_>, inputs: &[RoundedInput<'_, i8>], sums: &mut [f32]) {
        Avx2.int8(rows, inputs, sums);
    }

    fn codes(
        &self,
        rows: &CodeRows<'_>,
        inputs: &[&[f32]],
        group_sums: &[&[f32]],
        sums: &mut [f32],
    ) {
        let Some(blocks) = executes(rows.codes) else {
            return Avx2.codes(rows, inputs, group_sums, sums);
        };
        let block = match blocks {
            Blocks::Many => many_codes::BLOCK,
            Blocks::Sixteens => 1,
        };
        check_floats(rows, inputs, group_sums, block);
        let count = inputs.len();
        let few = inputs.chunks(INPUTS).zip(group_sums.chunks(INPUTS));
        for (at, (inputs, group_sums)) in few.enumerate() {
            let sums = &mut sums[at * INPUTS..];
            with_count!(inputs.len(), N => {
                // SAFETY: the features were found by `is_available`; lengths were checked above.
                unsafe {
                    match blocks {
                        Blocks::Many => {
                            let inputs: [_; N] = std::array::from_fn(|n| inputs[n].as_ptr());
                            many_floats(rows, inputs, sums, count);
                            subtract_zeros(rows, &group_sums.iter().copied(), sums, count);
                        }
                        Blocks::Sixteens => of_bits::<N>(rows, inputs, group_sums, sums, count),
                    }
                }
            });
        }
    }

    fn bf16_order(&self, codes: &PackedCodes) -> Option<Order> {
        let is_many = matches!(executes(codes), Some(Blocks::Many));
        (is_many && is_x86_feature_detected!("avx512bf16")).then_some(bf16::ORDER)
    }

    fn bf16(&self, rows: &CodeRows<'_>, inputs: &[Bf16Input], sums: &mut [f32]) {
        assert!(
            self.bf16_order(rows.codes).is_some(),
            "codes and instructions for bf16"
        );
        check_bf16(rows, inputs, many_codes::BLOCK);
        let count = inputs.len();
        for (at, few) in inputs.chunks(INPUTS).enumerate() {
            let sums = &mut sums[at * INPUTS..];
            with_count!(few.len(), N => {
                let inputs: [_; N] = std::array::from_fn(|n| few[n].values.as_ptr());
                // SAFETY: the features and lengths were checked above.
                unsafe { many_bf16(rows, inputs, sums, count) };
                let group_sums = few.iter().map(|input| input.group_sums.as_slice());
                subtract_zeros(rows, &group_sums, sums, count);
            });
        }
    }

    fn values(&self, row: &CodeRow<'_>, out: &mut [f32]) {
        if row.table.is_some() && row.bits > TABLE_BITS {
            return Avx2.values(row, out);
        }
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

/// How many codes are multiplied at a time.
#[derive(Clone, Copy)]
enum Blocks {
    /// As [`many_codes`] says.
    Many,
    Sixteens,
}

/// How `codes` are multiplied; `None` for those that are left to AVX2: groups that divide no block, and tables that have no
/// room in registers.
fn executes(codes: &PackedCodes) -> Option<Blocks> {
    if codes.bits <= many_codes::MOST_BITS {
        return many_codes::executes(codes).then_some(Blocks::Many);
    }
    let sixteens = codes.groups_per_row() == 1 || codes.group_size.is_multiple_of(lookup::TOGETHER);
    let has_room = !(codes.have_tables() && codes.bits > TABLE_BITS);
    (sixteens && has_room).then_some(Blocks::Sixteens)
}

/// Takes off the sums of each row what its zeros are to.
fn subtract_zeros<'a>(
    rows: &CodeRows<'_>,
    group_sums: &(impl Iterator<Item = &'a [f32]> + Clone),
    sums: &mut [f32],
    count: usize,
) {
    if rows.codes.has_zeros() {
        for (row, sums) in rows.iter().zip(sums.chunks_mut(count)) {
            for (sum, group_sums) in sums.iter_mut().zip(group_sums.clone()) {
                *sum -= row.zeros_part(group_sums);
            }
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
fn of_bits<const N: usize>(
    rows: &CodeRows<'_>,
    inputs: &[&[f32]],
    group_sums: &[&[f32]],
    sums: &mut [f32],
    count: usize,
) {
    // SAFETY: the caller has checked the lengths.
    unsafe {
        match rows.codes.bits {
            5 => rows::sums::<5, N>(rows, inputs, group_sums, sums, count),
            6 => rows::sums::<6, N>(rows, inputs, group_sums, sums, count),
            7 => rows::sums::<7, N>(rows, inputs, group_sums, sums, count),
            8 => rows::sums::<8, N>(rows, inputs, group_sums, sums, count),
            bits => unreachable!("codes of {bits} bits, sixteen at a time"),
        }
    }
}

/// Sums of codes of up to four bits with the instructions of an arithmetic.
macro_rules! many_codes {
    ($name:ident, $arithmetic:ident, $features:literal) => {
        #[target_feature(enable = $features)]
        unsafe fn $name<const N: usize>(
            rows: &CodeRows<'_>,
            inputs: [*const <$arithmetic<4> as Arithmetic>::Input; N],
            sums: &mut [f32],
            count: usize,
        ) {
            // SAFETY: the caller has checked lengths and features.
            unsafe {
                match rows.codes.bits {
                    1 => many_codes::sums::<$arithmetic<1>, N>(rows, inputs, sums, count),
                    2 => many_codes::sums::<$arithmetic<2>, N>(rows, inputs, sums, count),
                    3 => many_codes::sums::<$arithmetic<3>, N>(rows, inputs, sums, count),
                    4 => many_codes::sums::<$arithmetic<4>, N>(rows, inputs, sums, count),
                    bits => unreachable!("codes of {bits} bits, eight to a lane"),
                }
            }
        }
    };
}
many_codes!(many_floats, Floats, "avx512f,avx512bw,avx512vl,avx512vbmi");
many_codes!(
    many_bf16,
    Bf16,
    "avx512f,avx512bw,avx512vl,avx512vbmi,avx512bf16"
);

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
fn values_of_bits(row: &CodeRow<'_>, out: &mut [f32]) {
    // SAFETY: the caller has checked the lengths.
    unsafe { with_bits!(row, BITS => rows::values::<BITS>(row, out)) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
fn rounded_of_bits<const N: usize>(
    rows: &CodeRows<'_>,
    inputs: &[RoundedInput<'_, i16>],
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

fn words<const IS_F16: bool>(rows: &[u16], inputs: &[&[f32]], sums: &mut [f32]) {
    let (cols, count) = (check_words(rows, inputs, sums), inputs.len());
    if cols == 0 {
        return sums.fill(0.0);
    }
    for (row, sums) in rows.chunks_exact(cols).zip(sums.chunks_exact_mut(count)) {
        for (inputs, sums) in inputs.chunks(INPUTS).zip(sums.chunks_mut(INPUTS)) {
            with_count!(inputs.len(), N => {
                // SAFETY: the features were found by `is_available`; the lengths are equal.
                unsafe { halves::words::<IS_F16, N>(row, inputs, sums) }
            });
        }
    }
}
