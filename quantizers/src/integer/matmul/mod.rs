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

pub use kernel::{KERNELS, Kernel, Panels, Rows, TILE_PANELS, TILE_VALUES, TileMut, fastest};
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
    let mut buffer = TileBuffer([0; TILE_VALUES]);
    for_each_tile(kernel, left, right, |rows, panels, col| {
        let stride = panels.count * LANES;
        kernel.fill(
            left,
            rows,
            panels,
            TileMut {
                values: &mut buffer.0,
                stride,
            },
        );
        epilogue.finish(&Tile {
            row: rows.start,
            col,
            rows: rows.count,
            cols: stride.min(right.rows() - col),
            values: &buffer.0,
            stride,
        });
    });
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
    let mut buffer = TileBuffer([0; TILE_VALUES]);
    for_each_tile(kernel, left, right, |rows, panels, col| {
        let out = &mut out[rows.start * stride + col..];
        let (width, cols) = (panels.count * LANES, right.rows() - col);
        if width <= cols {
            kernel.fill(
                left,
                rows,
                panels,
                TileMut {
                    values: out,
                    stride,
                },
            );
            return;
        }
        kernel.fill(
            left,
            rows,
            panels,
            TileMut {
                values: &mut buffer.0,
                stride: width,
            },
        );
        for (r, sums) in buffer.0.chunks(width).take(rows.count).enumerate() {
            out[r * stride..r * stride + cols].copy_from_slice(&sums[..cols]);
        }
    });
}

/// Calls `tile` with the rows, the panels and the first channel of each tile. The panels stay in
/// cache while all rows pass.
fn for_each_tile(
    kernel: &dyn Kernel,
    left: Left<'_>,
    right: &PackedMatrix,
    mut tile: impl FnMut(Rows, Panels<'_>, usize),
) {
    assert_eq!(
        left.cols(),
        right.cols(),
        "expected as many inputs left as right"
    );
    let all = right.rows().div_ceil(LANES);
    for panel in (0..all).step_by(TILE_PANELS) {
        let panels = right.panels(panel, TILE_PANELS.min(all - panel));
        for rows in row_blocks(left.rows(), kernel.tile_rows(panels.count)) {
            tile(rows, panels, panel * LANES);
        }
    }
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
