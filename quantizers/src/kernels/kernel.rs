//! What a kernel does.

use super::code_row::CodeRow;
use super::codes::{CodeRows, PackedCodes};
use super::inputs::{Bf16Input, ROUNDED_TOGETHER, RoundedInput};
use super::order::Order;

/// Sums of rows of a matrix with a few inputs at a time.
pub(super) trait Kernel: Sync {
    /// Its name in `QUENCH_KERNEL`.
    fn name(&self) -> &'static str;
    /// Whether this machine has the instructions.
    fn is_available(&self) -> bool;
    /// How the inputs of [`Self::codes`] are to stand.
    fn order(&self, _codes: &PackedCodes) -> Order {
        Order::AS_THEY_COME
    }
    /// `sums[r * inputs.len() + k] = sum over inputs j of w_rj inputs[k][j]` with
    /// inputs `[cols]` in the order of [`Self::order`]; `group_sums[k][g]` is the sum of the inputs of group `g`. How many
    /// inputs there are changes no bit of a sum, as long as they are at most [`PackedMatrix::MOST_ALIKE`].
    ///
    /// [`PackedMatrix::MOST_ALIKE`]: super::PackedMatrix::MOST_ALIKE
    fn codes(
        &self,
        rows: &CodeRows<'_>,
        inputs: &[&[f32]],
        group_sums: &[&[f32]],
        sums: &mut [f32],
    );
    /// Where in each [`ROUNDED_TOGETHER`] of the inputs of [`Self::int16`] the ones it
    /// multiplies first to last stand; `None` where they stand as they come.
    fn int16_order(&self, _codes: &PackedCodes) -> Option<&'static [usize; ROUNDED_TOGETHER]> {
        None
    }
    /// The same sums of rows whose codes stand for whole numbers of 16 bits, [`CodeRow::integers`].
    fn int16(&self, rows: &CodeRows<'_>, inputs: &[RoundedInput<'_, i16>], sums: &mut [f32]);
    /// As [`Self::int16_order`], of [`Self::int8`].
    fn int8_order(&self, _codes: &PackedCodes) -> Option<&'static [usize; ROUNDED_TOGETHER]> {
        None
    }
    /// The same sums of rows whose codes, of at most 4 bits, stand for whole numbers of 7 bits without a sign.
    fn int8(&self, rows: &CodeRows<'_>, inputs: &[RoundedInput<'_, i8>], sums: &mut [f32]);
    /// How the inputs of [`Self::bf16`] are to stand; `None` where this machine or kernel does not multiply such, and
    /// [`Self::codes`] is to be asked with inputs that bf16 holds.
    fn bf16_order(&self, _codes: &PackedCodes) -> Option<Order> {
        None
    }
    /// The same sums of rows whose codes, of at most 4 bits, stand for values that bf16 holds, with such inputs.
    fn bf16(&self, _rows: &CodeRows<'_>, _inputs: &[Bf16Input], _sums: &mut [f32]) {
        unreachable!("{} has no order for such inputs", self.name())
    }
    /// Values of the codes of a row `[cols]`, as they come, without zero and scale.
    fn values(&self, row: &CodeRow<'_>, out: &mut [f32]) {
        for (at, value) in out.iter_mut().enumerate() {
            *value = row.value(at);
        }
    }
    /// `sums[r * inputs.len() + k]` of rows of f16 values, which stand one after the other and are as long as the inputs.
    fn halves(&self, rows: &[u16], inputs: &[&[f32]], sums: &mut [f32]);
    /// The same of rows of bf16 values.
    fn brains(&self, rows: &[u16], inputs: &[&[f32]], sums: &mut [f32]);
}
