//! The kernel of AVX-512 VNNI: 64 products and sums per instruction.

use std::arch::x86_64::{
    __m512i, _mm512_dpbusd_epi32, _mm512_load_si512, _mm512_set1_epi32, _mm512_setzero_si512,
    _mm512_storeu_si512,
};

use super::block::{Block, LANES, STEP, assert_extent};
use super::kernel::{Kernel, Panels, Rows, TileMut, assert_tile};
use super::left::Left;

/// Rows x panels of 512-bit accumulators: 6 x 4 or 8 x 3 leaves 8 registers for the operands.
///
/// `vpdpbusd` is the form that does not saturate (`vpdpbusds` would).
pub(super) struct Avx512Vnni;

impl Kernel for Avx512Vnni {
    fn name(&self) -> &'static str {
        "avx512-vnni"
    }

    fn available(&self) -> bool {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vnni")
    }

    fn tile_rows(&self, panels: usize) -> usize {
        if panels == 4 { 6 } else { 8 }
    }

    fn fill(&self, left: Left<'_>, rows: Rows, right: Panels<'_>, out: TileMut<'_>) {
        assert_tile(self, left, rows, right, &out);
        #[expect(
            unsafe_code,
            reason = "the kernel needs instructions found at run time"
        )]
        // SAFETY: `assert_tile` has checked that the processor has the instructions.
        unsafe {
            TILES[right.count - 1][rows.count - 1](left, rows.start, right.blocks, out);
        }
    }
}

/// `fill` for a fixed number of rows and panels.
type TileFn = unsafe fn(Left<'_>, usize, &[Block], TileMut<'_>);

/// Indexed by panels - 1, then rows - 1. Four panels stop at six rows: more would spill.
static TILES: [&[TileFn]; 4] = [
    &[
        tile::<1, 1>,
        tile::<2, 1>,
        tile::<3, 1>,
        tile::<4, 1>,
        tile::<5, 1>,
        tile::<6, 1>,
        tile::<7, 1>,
        tile::<8, 1>,
    ],
    &[
        tile::<1, 2>,
        tile::<2, 2>,
        tile::<3, 2>,
        tile::<4, 2>,
        tile::<5, 2>,
        tile::<6, 2>,
        tile::<7, 2>,
        tile::<8, 2>,
    ],
    &[
        tile::<1, 3>,
        tile::<2, 3>,
        tile::<3, 3>,
        tile::<4, 3>,
        tile::<5, 3>,
        tile::<6, 3>,
        tile::<7, 3>,
        tile::<8, 3>,
    ],
    &[
        tile::<1, 4>,
        tile::<2, 4>,
        tile::<3, 4>,
        tile::<4, 4>,
        tile::<5, 4>,
        tile::<6, 4>,
    ],
];

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
#[expect(
    clippy::needless_pass_by_value,
    reason = "room is handed over like a slice"
)]
#[expect(unsafe_code, reason = "vector loads and stores take pointers")]
#[expect(
    clippy::needless_range_loop,
    reason = "indices of register arrays, unrolled"
)]
fn tile<const R: usize, const C: usize>(
    left: Left<'_>,
    start: usize,
    blocks: &[Block],
    out: TileMut<'_>,
) {
    let (steps, stride) = (left.steps(), left.stride());
    let whole = left.cols() / STEP;
    assert!(start + R <= left.rows() && blocks.len() == C * steps);
    assert_extent(out.values.len(), R, C * LANES, out.stride);
    let mut sums = [[_mm512_setzero_si512(); C]; R];
    let codes = left.row(start).as_ptr();
    for step in 0..whole {
        let mut weights = [_mm512_setzero_si512(); C];
        for c in 0..C {
            // SAFETY: `c * steps + step` is under the `C * steps` blocks asserted above.
            weights[c] = unsafe { load(blocks.as_ptr().add(c * steps + step)) };
        }
        for r in 0..R {
            // SAFETY: row `start + r` exists and has `STEP * whole` codes at least.
            let word = unsafe {
                codes
                    .add(r * stride + step * STEP)
                    .cast::<i32>()
                    .read_unaligned()
            };
            let word = _mm512_set1_epi32(word);
            for c in 0..C {
                sums[r][c] = _mm512_dpbusd_epi32(sums[r][c], word, weights[c]);
            }
        }
    }
    if whole < steps {
        for r in 0..R {
            let word = _mm512_set1_epi32(left.tail(start + r).cast_signed());
            for c in 0..C {
                // SAFETY: as above, `whole` being the last step.
                let weights = unsafe { load(blocks.as_ptr().add(c * steps + whole)) };
                sums[r][c] = _mm512_dpbusd_epi32(sums[r][c], word, weights);
            }
        }
    }
    for r in 0..R {
        for c in 0..C {
            // SAFETY: `out` holds `R` rows of `C` vectors of `LANES` sums, asserted above.
            unsafe {
                let at = out.values.as_mut_ptr().add(r * out.stride + c * LANES);
                _mm512_storeu_si512(at.cast(), sums[r][c]);
            }
        }
    }
}

/// Loads one block.
///
/// # Safety
/// `block` points to a block.
#[target_feature(enable = "avx512f")]
#[inline]
#[expect(unsafe_code, reason = "vector loads take pointers")]
unsafe fn load(block: *const Block) -> __m512i {
    // SAFETY: a block has the size and the alignment of a vector.
    unsafe { _mm512_load_si512(block.cast()) }
}
