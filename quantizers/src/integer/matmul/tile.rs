//! Finished tiles of sums and what is done with them.

use super::kernel::TILE_VALUES;

/// A tile `[rows, cols]` of sums, still in the first-level cache.
#[derive(Debug, Clone, Copy)]
pub struct Tile<'a> {
    /// First row of the output.
    pub row: usize,
    /// First channel of the output, a multiple of 16.
    pub col: usize,
    /// Rows of the tile.
    pub rows: usize,
    /// Channels of the tile, padding left out.
    pub cols: usize,
    /// Sums, `stride` apart from row to row; the channels between `cols` and `stride` are zero.
    pub values: &'a [i32],
    /// Sums between the starts of two rows, a multiple of 16.
    pub stride: usize,
}

impl<'a> Tile<'a> {
    /// Sums of row `r` of the tile, `[cols]`.
    pub fn row_values(&self, r: usize) -> &'a [i32] {
        &self.values[r * self.stride..r * self.stride + self.cols]
    }
}

/// Takes the tiles of one multiplication, in any order.
pub trait Epilogue {
    /// Consumes one tile.
    fn finish(&mut self, tile: &Tile<'_>);
}

impl<F: FnMut(&Tile<'_>)> Epilogue for F {
    fn finish(&mut self, tile: &Tile<'_>) {
        self(tile);
    }
}

/// Memory of one tile, aligned for whole vectors.
#[repr(align(64))]
pub(super) struct TileBuffer(pub(super) [i32; TILE_VALUES]);
