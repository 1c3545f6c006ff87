//! The kernel of AVX2: codes widened to 16 bits, then multiplied and added in pairs.

use std::arch::x86_64::{
    __m256i, _mm_load_si128, _mm_set1_epi32, _mm256_add_epi32, _mm256_cvtepi8_epi16,
    _mm256_cvtepu8_epi16, _mm256_hadd_epi32, _mm256_madd_epi16, _mm256_permute4x64_epi64,
    _mm256_setzero_si256, _mm256_storeu_si256,
};

use super::block::{Block, LANES, STEP};
use super::kernel::{Kernel, Panels, Rows, TileMut, assert_tile};
use super::left::Left;

/// Three rows of one panel: 12 accumulators, 3 widened words, 1 quarter of a block.
///
/// `vpmaddubsw` would take the bytes as they are, but its 16-bit sums saturate.
pub(super) struct Avx2;

impl Kernel for Avx2 {
    fn name(&self) -> &'static str {
        "avx2"
    }

    fn available(&self) -> bool {
        is_x86_feature_detected!("avx2")
    }

    fn tile_rows(&self, _panels: usize) -> usize {
        3
    }

    fn fill(&self, left: Left<'_>, rows: Rows, right: Panels<'_>, out: TileMut<'_>) {
        assert_tile(self, left, rows, right, &out);
        for panel in 0..right.count {
            let blocks = right.panel(panel);
            let values = &mut out.values[panel * LANES..];
            #[expect(
                unsafe_code,
                reason = "the kernel needs instructions found at run time"
            )]
            // SAFETY: `assert_tile` has checked that the processor has the instructions.
            unsafe {
                match rows.count {
                    1 => panel_sums::<1>(left, rows.start, blocks, values, out.stride),
                    2 => panel_sums::<2>(left, rows.start, blocks, values, out.stride),
                    _ => panel_sums::<3>(left, rows.start, blocks, values, out.stride),
                }
            }
        }
    }
}

#[target_feature(enable = "avx2")]
#[expect(
    clippy::needless_range_loop,
    reason = "indices of register arrays, unrolled"
)]
fn panel_sums<const R: usize>(
    left: Left<'_>,
    start: usize,
    blocks: &[Block],
    out: &mut [i32],
    out_stride: usize,
) {
    let whole = left.cols() / STEP;
    let rows: [&[u8]; R] = std::array::from_fn(|r| &left.row(start + r)[..whole * STEP]);
    // Quarter `q` holds the sums of the even and the odd pairs of inputs of channels `4 * q ..`.
    let mut sums = [[_mm256_setzero_si256(); 4]; R];
    for (step, block) in blocks[..whole].iter().enumerate() {
        let mut words = [0; R];
        for r in 0..R {
            let code = &rows[r][step * STEP..step * STEP + STEP];
            words[r] = i32::from_le_bytes([code[0], code[1], code[2], code[3]]);
        }
        add_step(&mut sums, words, block);
    }
    if let Some(block) = blocks.get(whole) {
        let mut words = [0; R];
        for r in 0..R {
            words[r] = left.tail(start + r).cast_signed();
        }
        add_step(&mut sums, words, block);
    }
    for r in 0..R {
        let out = &mut out[r * out_stride..r * out_stride + LANES];
        store_pairs(sums[r][0], sums[r][1], &mut out[..8]);
        store_pairs(sums[r][2], sums[r][3], &mut out[8..]);
    }
}

/// Adds one step of `R` rows: `words` holds four codes of each.
#[target_feature(enable = "avx2")]
#[inline]
#[expect(unsafe_code, reason = "vector loads take pointers")]
#[expect(
    clippy::needless_range_loop,
    reason = "indices of register arrays, unrolled"
)]
fn add_step<const R: usize>(sums: &mut [[__m256i; 4]; R], words: [i32; R], block: &Block) {
    let mut codes = [_mm256_setzero_si256(); R];
    for r in 0..R {
        codes[r] = _mm256_cvtepu8_epi16(_mm_set1_epi32(words[r]));
    }
    for q in 0..4 {
        // SAFETY: a block is four aligned quarters of 16 bytes.
        let quarter = unsafe { _mm_load_si128(block.0.as_ptr().add(4 * q).cast()) };
        let weights = _mm256_cvtepi8_epi16(quarter);
        for r in 0..R {
            sums[r][q] = _mm256_add_epi32(sums[r][q], _mm256_madd_epi16(codes[r], weights));
        }
    }
}

/// Adds the pairs of two quarters and writes the 8 channels in order.
#[target_feature(enable = "avx2")]
#[inline]
#[expect(unsafe_code, reason = "vector stores take pointers")]
fn store_pairs(low: __m256i, high: __m256i, out: &mut [i32]) {
    assert!(out.len() >= 8);
    let sums = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_hadd_epi32(low, high));
    // SAFETY: `out` has room for the 8 sums, asserted above.
    unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), sums) }
}
