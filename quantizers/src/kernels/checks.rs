//! What kernels whose loads are not checked rely on.

use super::code_row::CodeRow;
use super::codes::CodeRows;
use super::inputs::{Bf16Input, ROUNDED_TOGETHER, RoundedInput};
use crate::scratch::Reusable;

/// Bytes that kernels read behind the codes of a row, at most.
const READ_BEHIND: usize = 48;

/// That inputs, in whole blocks of `block`, and their sums are those of `rows`.
pub(super) fn check_floats(
    rows: &CodeRows<'_>,
    inputs: &[&[f32]],
    group_sums: &[&[f32]],
    block: usize,
) {
    check_rows(rows);
    let (cols, groups) = (rows.codes.cols(), rows.codes.groups_per_row());
    for (input, group_sums) in inputs.iter().zip(group_sums) {
        assert_eq!(input.len(), cols.next_multiple_of(block));
        assert_eq!(group_sums.len(), groups);
    }
}

/// That the inputs of [`Kernel::bf16`](super::kernel::Kernel::bf16) and their sums are those of `rows`, in blocks of `block`.
pub(super) fn check_bf16(rows: &CodeRows<'_>, inputs: &[Bf16Input], block: usize) {
    check_rows(rows);
    let (cols, groups) = (rows.codes.cols(), rows.codes.groups_per_row());
    for input in inputs {
        assert_eq!(input.values.len(), cols.next_multiple_of(block));
        assert_eq!(input.group_sums.len(), groups);
    }
}

/// The same of rounded inputs.
pub(super) fn check_rounded<T: Reusable>(rows: &CodeRows<'_>, inputs: &[RoundedInput<'_, T>]) {
    check_rows(rows);
    let blocks = rows.codes.cols() / ROUNDED_TOGETHER;
    let groups = rows.codes.groups_per_row();
    for input in inputs {
        assert!(input.values.len() == blocks * ROUNDED_TOGETHER);
        assert!(input.scales.len() == blocks && input.group_sums.len() == groups);
    }
}

/// That `rows` of 16-bit floats are as long as `inputs`, and have a place in `sums` each; returns how long.
pub(super) fn check_words(rows: &[u16], inputs: &[&[f32]], sums: &[f32]) -> usize {
    let cols = inputs.first().map_or(0, |input| input.len());
    assert!(inputs.iter().all(|input| input.len() == cols));
    assert_eq!(rows.len() * inputs.len(), sums.len() * cols, "whole rows");
    cols
}

/// That the codes of `row` can be read, and that tables have a value for each.
pub(super) fn check_row(row: &CodeRow<'_>) {
    let bytes = (row.cols * usize::from(row.bits)).div_ceil(8);
    assert!(row.bytes.len() >= bytes + READ_BEHIND);
    let entries = 1 << row.bits;
    assert!(row.table.is_none_or(|table| table.len() == entries));
    assert!(row.integers.is_none() || row.bits <= 4);
}

/// Rows of a matrix are all alike.
fn check_rows(rows: &CodeRows<'_>) {
    if rows.len() > 0 {
        check_row(&rows.row(0));
    }
}
