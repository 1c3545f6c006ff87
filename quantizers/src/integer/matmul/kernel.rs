//! What a kernel computes: one tile of sums.

use super::block::{Block, LANES, assert_extent};
use super::left::Left;

/// Most panels (of 16 channels) in one tile.
pub const TILE_PANELS: usize = 4;
/// Most `i32` sums in one tile: 6 rows of 4 panels, or 8 rows of 3.
pub const TILE_VALUES: usize = 384;

/// One way to compute a tile of sums. All of them give the same bits.
pub trait Kernel: Sync {
    /// Name in tables and messages.
    fn name(&self) -> &'static str;

    /// Whether this processor has the instructions.
    fn available(&self) -> bool;

    /// Most rows of one tile that is `panels` wide.
    fn tile_rows(&self, panels: usize) -> usize;

    /// Writes the sums of `rows` of `left` times the panels `right` to `out`
    /// `[rows.count, 16 * right.count]`.
    ///
    /// # Panics
    /// If the kernel is not [`available`](Self::available), or a shape does not fit.
    fn fill(&self, left: Left<'_>, rows: Rows, right: Panels<'_>, out: TileMut<'_>);
}

/// A range of rows of the left operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rows {
    /// First row.
    pub start: usize,
    /// Number of rows.
    pub count: usize,
}

/// Neighbouring panels of a packed matrix.
#[derive(Debug, Clone, Copy)]
pub struct Panels<'a> {
    /// Blocks of the first panel, then of the next.
    pub blocks: &'a [Block],
    /// Number of panels.
    pub count: usize,
}

impl<'a> Panels<'a> {
    /// Blocks of panel `panel`.
    pub fn panel(&self, panel: usize) -> &'a [Block] {
        let steps = self.blocks.len() / self.count;
        &self.blocks[panel * steps..(panel + 1) * steps]
    }
}

/// Room for the sums of a tile.
#[derive(Debug)]
pub struct TileMut<'a> {
    /// Sums; what lies between the rows is left as it is.
    pub values: &'a mut [i32],
    /// Sums between the starts of two rows, at least 16 per panel.
    pub stride: usize,
}

/// Panics unless a call of [`Kernel::fill`] stays inside its operands.
pub(super) fn assert_tile(
    kernel: &dyn Kernel,
    left: Left<'_>,
    rows: Rows,
    right: Panels<'_>,
    out: &TileMut<'_>,
) {
    assert!(
        kernel.available(),
        "the processor lacks the instructions of `{}`",
        kernel.name()
    );
    let (panels, most) = (right.count, kernel.tile_rows(right.count));
    assert!(
        (1..=TILE_PANELS).contains(&panels),
        "expected 1 to 4 panels, found {panels}"
    );
    assert!(
        (1..=most).contains(&rows.count),
        "expected 1 to {most} rows, found {}",
        rows.count
    );
    assert!(
        rows.start + rows.count <= left.rows(),
        "expected rows of the left operand"
    );
    assert_eq!(
        right.blocks.len(),
        panels * left.steps(),
        "expected whole panels"
    );
    assert_extent(out.values.len(), rows.count, panels * LANES, out.stride);
}
