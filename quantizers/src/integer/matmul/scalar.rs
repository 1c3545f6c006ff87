//! The kernel of any processor.

use super::block::{Block, LANES, STEP};
use super::kernel::{Kernel, Panels, Rows, TileMut, assert_tile};
use super::left::Left;

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

    fn fill(&self, left: Left<'_>, rows: Rows, right: Panels<'_>, out: TileMut<'_>) {
        assert_tile(self, left, rows, right, &out);
        for r in 0..rows.count {
            let sums = &mut out.values[r * out.stride..][..right.count * LANES];
            for (panel, sums) in sums.chunks_exact_mut(LANES).enumerate() {
                panel_sums(left.row(rows.start + r), right.panel(panel), sums);
            }
        }
    }
}

/// `sums[lane] = sum over k of row[k] * panel[lane][k]`. Four codes of a lane are one word, taken
/// apart by shifts, so that the lanes are independent words and compilers vectorise across them.
fn panel_sums(row: &[u8], blocks: &[Block], sums: &mut [i32]) {
    let mut totals = [0; LANES];
    for (codes, block) in row.chunks(STEP).zip(blocks) {
        let mut word = [0; STEP];
        word[..codes.len()].copy_from_slice(codes);
        let [a, b, c, d] = word.map(i32::from);
        let weights: [i32; LANES] = bytemuck::cast(block.0);
        for (total, weights) in totals.iter_mut().zip(weights.map(i32::from_le)) {
            let low = a * (weights << 24 >> 24) + b * (weights << 16 >> 24);
            *total += low + c * (weights << 8 >> 24) + d * (weights >> 24);
        }
    }
    sums.copy_from_slice(&totals);
}
