//! Exact `u8 [M, K]` times `i8 [N, K]` into `i32 [M, N]`, and what follows while it is in cache.
//!
//! Rows of the right operand are output channels. Sums are exact up to [`MAX_COLS`] inputs, so
//! every kernel gives the same bits. Activations are unsigned codes; a zero point `z` is folded
//! into the bias as `-z` times the sum of the codes of a channel.
//!
//! Layout. [`PackedMatrix`] holds panels of 16 channels; a panel is one 64-byte [`Block`] per 4
//! inputs, channel by channel, so that one load feeds one `vpdpbusd`: 16 sums of 4 products. A tile
//! is 6 rows of 4 panels (24 accumulators of 16 sums) over the WHOLE of `K`: per step of 4 inputs
//! it loads 4 blocks and broadcasts 6 words for 24 multiply instructions, and the sums are finished
//! when they leave the registers. The 4 panels, `64 K` bytes, stay in the second-level cache while
//! all rows pass; the rows, one byte per code, are read once per 64 channels. Finished tiles (1.5
//! kB) go to an [`Epilogue`], which writes codes: the `[M, N]` of `i32` never exists.
//!
//! Floor. `M K N / 64` multiply instructions, one per cycle where a core has one 512-bit multiplier
//! or two of 256 bits; `M K + N K` bytes in, `M N` codes out. At 384 x 1536 x 512: 4.7 million
//! instructions against 1.6 MB, so multiplication is the limit; with one row of 768 x 3072 it is
//! reading 2.4 MB of weights.
//!
//! Measured, one core of an AMD EPYC (Zen 4), as a share of 236 GMAC/s, the rate of independent
//! `vpdpbusd` on registers (`cargo run --release -p quantizers --example integer_matmul`):
//!
//! | M x K x N | sums | to `u8` | to `u8`, 256-entry table | plus residual |
//! |---|---|---|---|---|
//! | 384 x 1536 x 512 | 98 % | 97 % | – | – |
//! | 128 x 1536 x 384 | 98 % | 97 % | 96 % | 94 % |
//! | 128 x 384 x 1536 | 94 % | 89 % | 85 % | 81 % |
//! | 128 x 128 x 32 (attention values) | 87 % | – | – | – |
//! | 128 x 32 x 128 (attention logits) | 62 % | – | – | – |
//! | 1 x 768 x 3072 (85 GB/s of weights) | 36 % | – | – | – |
//!
//! AVX2, which has no such instruction, reaches 24 % of the same rate, the scalar loop 4 %.

pub mod epilogue;
mod block;
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

pub use block::{Block, LANES, MAX_COLS, STEP};
pub use kernel::{Kernel, Panels, Rows, TILE_PANELS, TILE_VALUES, TileMut};
pub use left::Left;
pub use packed::PackedMatrix;
pub use tile::{Epilogue, Tile};

use block::assert_extent;
use tile::TileBuffer;

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
