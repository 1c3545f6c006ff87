//! The kernels and which of them this processor runs.

use super::packed::Block;
use super::{Left, scalar};
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};

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

    /// Writes the sums of rows `row .. row + rows` of `left` times `panels` panels `blocks` to
    /// `tile` `[rows, 16 * panels]`, row-major and dense.
    ///
    /// # Panics
    /// If the kernel is not [`available`](Self::available), or a shape does not fit.
    fn fill(&self, left: Left<'_>, rows: Rows, blocks: &[Block], panels: usize, tile: &mut [i32]);
}

/// A range of rows of the left operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rows {
    /// First row.
    pub start: usize,
    /// Number of rows.
    pub count: usize,
}

/// Every kernel, fastest first; the last one runs anywhere.
pub static KERNELS: &[&dyn Kernel] = &[
    #[cfg(target_arch = "x86_64")]
    &avx512::Avx512Vnni,
    #[cfg(target_arch = "x86_64")]
    &avx2::Avx2,
    &scalar::Scalar,
];

/// The fastest kernel that this processor runs.
pub fn fastest() -> &'static dyn Kernel {
    *KERNELS
        .iter()
        .find(|kernel| kernel.available())
        .unwrap_or(&(&scalar::Scalar as &dyn Kernel))
}

/// Panics unless a call of [`Kernel::fill`] stays inside its operands.
pub(super) fn assert_tile(
    kernel: &dyn Kernel,
    left: Left<'_>,
    rows: Rows,
    blocks: &[Block],
    panels: usize,
    tile: &[i32],
) {
    assert!(
        kernel.available(),
        "the processor lacks the instructions of `{}`",
        kernel.name()
    );
    let most = kernel.tile_rows(panels);
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
    assert_eq!(blocks.len(), panels * left.steps(), "expected whole panels");
    assert!(
        tile.len() >= rows.count * panels * super::LANES,
        "expected room for the tile"
    );
}
