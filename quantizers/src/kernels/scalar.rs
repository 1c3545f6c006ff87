//! Sums in plain Rust, for every machine: what the other kernels are held against.

use super::codes::CodeRow;
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

    fn codes(&self, row: &CodeRow<'_>, inputs: &[&[f32]], group_sums: &[&[f32]], sums: &mut [f32]) {
        for ((input, group_sums), sum) in inputs.iter().zip(group_sums).zip(sums) {
            *sum = 0.0;
            for (group, input) in input.chunks(row.group_size).enumerate() {
                let first = group * row.group_size;
                let part = lanes(input, |at| row.value(first + at));
                *sum += row.scale(group) * (part - row.zero(group) * group_sums[group]);
            }
        }
    }

    fn halves(&self, row: &[u16], inputs: &[&[f32]], sums: &mut [f32]) {
        for (input, sum) in inputs.iter().zip(sums) {
            *sum = lanes(input, |at| f16::from_bits(row[at]).to_f32());
        }
    }

    fn brains(&self, row: &[u16], inputs: &[&[f32]], sums: &mut [f32]) {
        for (input, sum) in inputs.iter().zip(sums) {
            *sum = lanes(input, |at| bf16::from_bits(row[at]).to_f32());
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
