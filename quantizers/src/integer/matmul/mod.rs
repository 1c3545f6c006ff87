//! Exact `u8 [M, K]` times `i8 [N, K]` into `i32 [M, N]`.

pub mod epilogue;
mod kernel;
mod left;
mod packed;
mod scalar;
mod tile;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(test)]
mod tests;

pub use kernel::{KERNELS, Kernel, Rows, TILE_PANELS, TILE_VALUES, fastest};
pub use left::{Left, offset_codes};
pub use packed::{Block, LANES, MAX_COLS, PackedMatrix, STEP};
pub use tile::{Epilogue, Tile};

use packed::assert_extent;
use tile::TileBuffer;

/// Computes `left [M, K]` times `right [N, K]` transposed and hands every finished tile to
/// `epilogue`; each output belongs to exactly one tile.
///
/// # Panics
/// If the inner dimensions differ or `kernel` is not available.
pub fn multiply(
    kernel: &dyn Kernel,
    left: Left<'_>,
    right: &PackedMatrix,
    epilogue: &mut dyn Epilogue,
) {
    assert_eq!(
        left.cols(),
        right.cols(),
        "expected as many inputs left as right"
    );
    let mut buffer = TileBuffer([0; TILE_VALUES]);
    let all = right.rows().div_ceil(LANES);
    for panel in (0..all).step_by(TILE_PANELS) {
        let panels = TILE_PANELS.min(all - panel);
        let blocks = right.panels(panel, panels);
        let col = panel * LANES;
        for rows in row_blocks(left.rows(), kernel.tile_rows(panels)) {
            kernel.fill(left, rows, blocks, panels, &mut buffer.0);
            epilogue.finish(&Tile {
                row: rows.start,
                col,
                rows: rows.count,
                cols: (panels * LANES).min(right.rows() - col),
                values: &buffer.0,
                stride: panels * LANES,
            });
        }
    }
}

/// As [`multiply`], into `out` `[M, N]`, whose rows start `stride` sums apart.
///
/// # Panics
/// As [`multiply`], and if `out` ends before its last row does.
pub fn multiply_into(
    kernel: &dyn Kernel,
    left: Left<'_>,
    right: &PackedMatrix,
    out: &mut [i32],
    stride: usize,
) {
    assert_extent(out.len(), left.rows(), right.rows(), stride);
    multiply(kernel, left, right, &mut |tile: &Tile<'_>| {
        for r in 0..tile.rows {
            let start = (tile.row + r) * stride + tile.col;
            out[start..start + tile.cols].copy_from_slice(tile.row_values(r));
        }
    });
}

/// Splits `rows` into the fewest blocks of at most `most`, as even as can be: one short block at
/// the end would leave the multiplier idle while it waits for its own sums.
fn row_blocks(rows: usize, most: usize) -> impl Iterator<Item = Rows> {
    let blocks = rows.div_ceil(most);
    let mut start = 0;
    (0..blocks).map(move |block| {
        let count = (rows - start).div_ceil(blocks - block);
        let rows = Rows { start, count };
        start += count;
        rows
    })
}
