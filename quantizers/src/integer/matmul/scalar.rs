//! The kernel of any processor.

use super::kernel::{Kernel, Rows, assert_tile};
use super::packed::Block;
use super::{LANES, Left, STEP};

/// Plain loops over one row and one panel.
pub(super) struct Scalar;

impl Kernel for Scalar {
    fn name(&self) -> &'static str {
        "scalar"
    }

    fn available(&self) -> bool {
        true
    }

    fn tile_rows(&self, _panels: usize) -> usize {
        1
    }

    fn fill(&self, left: Left<'_>, rows: Rows, blocks: &[Block], panels: usize, tile: &mut [i32]) {
        assert_tile(self, left, rows, blocks, panels, tile);
        let steps = left.steps();
        let tiles = tile.chunks_exact_mut(panels * LANES);
        for (row, sums) in (rows.start..rows.start + rows.count).zip(tiles) {
            for (panel, sums) in sums.chunks_exact_mut(LANES).enumerate() {
                panel_sums(
                    left.row(row),
                    &blocks[panel * steps..(panel + 1) * steps],
                    sums,
                );
            }
        }
    }
}

/// `sums[lane] = sum over k of row[k] * panel[lane][k]`.
fn panel_sums(row: &[u8], blocks: &[Block], sums: &mut [i32]) {
    sums.fill(0);
    for (codes, block) in row.chunks(STEP).zip(blocks) {
        let mut word = [0; STEP];
        word[..codes.len()].copy_from_slice(codes);
        let word = word.map(i32::from);
        for (sum, weights) in sums.iter_mut().zip(block.0.chunks_exact(STEP)) {
            *sum += word
                .iter()
                .zip(weights)
                .map(|(a, b)| a * i32::from(*b))
                .sum::<i32>();
        }
    }
}
