//! Sums in plain Rust, for every machine: what the other kernels are held against.

use super::code_row::CodeRow;
use super::codes::CodeRows;
use super::inputs::{Integer, ROUNDED_TOGETHER, RoundedInput};
use super::kernel::Kernel;
use half::{bf16, f16};

pub(super) struct Scalar;

/// Sums that are kept apart, so that one need not wait for the other.
const LANES: usize = 8;

impl Kernel for Scalar {
    fn name(&self) -> &'static str {
        "scalar"
    }

    fn is_available(&self) -> bool {
        true
    }

    fn codes(
        &self,
        rows: &CodeRows<'_>,
        inputs: &[&[f32]],
        group_sums: &[&[f32]],
        sums: &mut [f32],
    ) {
        for (row, sums) in rows.iter().zip(sums.chunks_exact_mut(inputs.len())) {
            for ((input, group_sums), sum) in inputs.iter().zip(group_sums).zip(sums) {
                let mut whole = 0.0;
                for (group, input) in input.chunks(row.group_size).enumerate() {
                    let first = group * row.group_size;
                    whole += row.scale(group) * lanes(input, |at| row.value(first + at));
                }
                *sum = whole + row.rest(row.cols, input, group_sums);
            }
        }
    }

    fn int16(&self, rows: &CodeRows<'_>, inputs: &[RoundedInput<'_, i16>], sums: &mut [f32]) {
        rounded(rows, inputs, sums);
    }

    fn int8(&self, rows: &CodeRows<'_>, inputs: &[RoundedInput<'_, i8>], sums: &mut [f32]) {
        rounded(rows, inputs, sums);
    }

    fn halves(&self, rows: &[u16], inputs: &[&[f32]], sums: &mut [f32]) {
        words(rows, inputs, sums, |bits| f16::from_bits(bits).to_f32());
    }

    fn brains(&self, rows: &[u16], inputs: &[&[f32]], sums: &mut [f32]) {
        words(rows, inputs, sums, |bits| bf16::from_bits(bits).to_f32());
    }
}

/// Rows of whole numbers.
fn rounded<T: Integer>(rows: &CodeRows<'_>, inputs: &[RoundedInput<'_, T>], sums: &mut [f32]) {
    for (row, sums) in rows.iter().zip(sums.chunks_exact_mut(inputs.len())) {
        let table = row.integers;
        let (scale, offset) = table.map_or((1.0, 0.0), |table| (table.scale, table.offset));
        for (input, sum) in inputs.iter().zip(sums) {
            let mut whole = 0.0;
            for (group, from) in (0..row.cols).step_by(row.group_size).enumerate() {
                let to = (from + row.group_size).min(row.cols);
                let blocks = from / ROUNDED_TOGETHER..to / ROUNDED_TOGETHER;
                let parts = blocks.map(|block| input.scales[block] * product(&row, block, input));
                let part = parts.sum::<f32>() + offset * input.group_sums[group];
                whole += row.scale(group) * part;
            }
            let blocks = row.cols / ROUNDED_TOGETHER;
            let rest = row.rest(blocks * ROUNDED_TOGETHER, input.input, &input.group_sums);
            *sum = scale * whole + rest;
        }
    }
}

/// Rows of 16-bit floats.
fn words(rows: &[u16], inputs: &[&[f32]], sums: &mut [f32], value: impl Fn(u16) -> f32) {
    let cols = inputs.first().map_or(1, |input| input.len());
    for (row, sums) in rows
        .chunks_exact(cols)
        .zip(sums.chunks_exact_mut(inputs.len()))
    {
        for (input, sum) in inputs.iter().zip(sums) {
            *sum = lanes(input, |at| value(row[at]));
        }
    }
}

/// `sum over j of weight(j) input[j]`.
fn lanes(input: &[f32], weight: impl Fn(usize) -> f32) -> f32 {
    let mut sums = [0.0_f32; LANES];
    for (block, input) in input.chunks(LANES).enumerate() {
        for (lane, (sum, x)) in sums.iter_mut().zip(input).enumerate() {
            *sum = x.mul_add(weight(block * LANES + lane), *sum);
        }
    }
    sums.iter().sum()
}

/// The sum of the products of whole numbers of a block.
fn product<T: Integer>(row: &CodeRow<'_>, block: usize, input: &RoundedInput<'_, T>) -> f32 {
    let first = block * ROUNDED_TOGETHER;
    let values = &input.values[first..first + ROUNDED_TOGETHER];
    let products = values.iter().enumerate();
    let products =
        products.map(|(at, x)| i64::from((*x).into()) * i64::from(row.integer(first + at)));
    #[expect(clippy::cast_precision_loss, reason = "one rounding")]
    let sum = products.sum::<i64>() as f32;
    sum
}
