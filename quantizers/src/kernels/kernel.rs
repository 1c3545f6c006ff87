//! What a kernel does.

use super::codes::CodeRow;

/// Most inputs that are multiplied with a row at a time.
pub(super) const MOST_INPUTS: usize = 4;

/// Sums of one row of a matrix with a few inputs at a time.
pub(super) trait Kernel: Sync {
    /// Its name in `QUENCH_KERNEL`.
    fn name(&self) -> &'static str;
    /// Whether this machine has the instructions.
    fn is_available(&self) -> bool;
    /// `sums[k] = sum over inputs j of w_j inputs[k][j]`, of at most [`MOST_INPUTS`] inputs `[cols]`;
    /// `group_sums[k][g]` is the sum of the inputs of group `g`.
    fn codes(&self, row: &CodeRow<'_>, inputs: &[&[f32]], group_sums: &[&[f32]], sums: &mut [f32]);
    /// The same of a row of f16 values.
    fn halves(&self, row: &[u16], inputs: &[&[f32]], sums: &mut [f32]);
    /// The same of a row of bf16 values.
    fn brains(&self, row: &[u16], inputs: &[&[f32]], sums: &mut [f32]);
}
