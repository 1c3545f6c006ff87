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
    /// The same of a few rows with any number of inputs, `sums[r * inputs.len() + k]`; each sum is bit by bit that of
    /// [`Self::codes`] with its input alone.
    fn codes_of_rows(
        &self,
        rows: &[CodeRow<'_>],
        inputs: &[&[f32]],
        group_sums: &[&[f32]],
        sums: &mut [f32],
    ) {
        codes_one_by_one(self, rows, inputs, group_sums, sums);
    }
    /// Values of the codes of a row `[cols]`, without zero and scale.
    fn values(&self, row: &CodeRow<'_>, out: &mut [f32]) {
        for (at, value) in out.iter_mut().enumerate() {
            *value = row.value(at);
        }
    }
    /// Sums of a row of f16 values with any number of inputs.
    fn halves(&self, row: &[u16], inputs: &[&[f32]], sums: &mut [f32]);
    /// The same of a row of bf16 values.
    fn brains(&self, row: &[u16], inputs: &[&[f32]], sums: &mut [f32]);
}

/// [`Kernel::codes_of_rows`] by [`Kernel::codes`], row by row.
pub(super) fn codes_one_by_one<K: Kernel + ?Sized>(
    kernel: &K,
    rows: &[CodeRow<'_>],
    inputs: &[&[f32]],
    group_sums: &[&[f32]],
    sums: &mut [f32],
) {
    for (row, sums) in rows.iter().zip(sums.chunks_mut(inputs.len())) {
        let inputs = inputs.chunks(MOST_INPUTS);
        let inputs = inputs.zip(group_sums.chunks(MOST_INPUTS));
        for ((inputs, group_sums), sums) in inputs.zip(sums.chunks_mut(MOST_INPUTS)) {
            kernel.codes(row, inputs, group_sums, sums);
        }
    }
}
