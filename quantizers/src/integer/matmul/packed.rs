//! The right operand, laid out in the order in which the kernels read it.

use super::block::{Block, LANES, MAX_COLS, STEP, assert_extent, interleave};
use super::kernel::Panels;

/// A matrix `[rows, cols]` of `i8`, one row per OUTPUT channel, packed for the kernels.
///
/// Block `panel * steps + step` holds the codes of channels `16 * panel ..` and inputs
/// `4 * step ..`; what lies outside the matrix is zero, so it adds nothing to a sum.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PackedMatrix {
    rows: usize,
    cols: usize,
    blocks: Vec<Block>,
}

impl PackedMatrix {
    /// Packs `values` `[rows, cols]`, row-major and dense.
    ///
    /// # Panics
    /// If `values` does not hold `rows * cols` codes, or `cols` is over [`MAX_COLS`].
    pub fn pack(values: &[i8], rows: usize, cols: usize) -> Self {
        let mut packed = Self::default();
        packed.pack_into(values, rows, cols, cols);
        packed
    }

    /// Packs `values` `[rows, cols]`, whose rows start `stride` codes apart, reusing the memory
    /// of `self`: keys `[tokens, head_dim]` inside the output of one projection.
    ///
    /// # Panics
    /// If `values` ends before the last row does, `stride` is under `cols`, or `cols` is over
    /// [`MAX_COLS`].
    pub fn pack_into(&mut self, values: &[i8], rows: usize, cols: usize, stride: usize) {
        assert_extent(values.len(), rows, cols, stride);
        let steps = self.reset(rows, cols);
        if steps == 0 {
            return;
        }
        for (panel, blocks) in self.blocks.chunks_exact_mut(steps).enumerate() {
            let first = panel * LANES;
            for quad in (0..LANES).step_by(4) {
                let row = |lane: usize| {
                    let row = first + quad + lane;
                    let start = row * stride;
                    if row < rows {
                        &values[start..start + cols]
                    } else {
                        &[]
                    }
                };
                interleave_rows([row(0), row(1), row(2), row(3)], blocks, quad);
            }
        }
    }

    /// Packs the TRANSPOSE of `values` `[cols, rows]`, whose rows start `stride` codes apart,
    /// reusing the memory of `self`: attention values `[tokens, head_dim]` become the matrix
    /// `[head_dim, tokens]`.
    ///
    /// # Panics
    /// If `values` ends before its last row does, `stride` is under `rows`, or `cols` is over
    /// [`MAX_COLS`].
    pub fn pack_transposed_into(&mut self, values: &[i8], rows: usize, cols: usize, stride: usize) {
        assert_extent(values.len(), cols, rows, stride);
        let steps = self.reset(rows, cols);
        if steps == 0 {
            return;
        }
        for (panel, blocks) in self.blocks.chunks_exact_mut(steps).enumerate() {
            let col = panel * LANES;
            let lanes = LANES.min(rows - col);
            for (step, block) in blocks.iter_mut().enumerate() {
                let first = step * STEP;
                let whole = |j| values.get((first + j) * stride + col..)?.first_chunk();
                if let (true, Some(a), Some(b), Some(c), Some(d)) = (
                    lanes == LANES && first + STEP <= cols,
                    whole(0),
                    whole(1),
                    whole(2),
                    whole(3),
                ) {
                    *block = interleave([a, b, c, d]);
                    continue;
                }
                let mut padded = [[0; LANES]; STEP];
                for (input, padded) in (first..cols).zip(&mut padded) {
                    let start = input * stride + col;
                    padded[..lanes].copy_from_slice(&values[start..start + lanes]);
                }
                *block = interleave(padded.each_ref());
            }
        }
    }

    /// Output channels.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Inputs of one channel.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Steps of [`STEP`] inputs in one panel.
    pub(super) fn steps(&self) -> usize {
        self.cols.div_ceil(STEP)
    }

    /// `count` panels from `panel` on.
    pub(super) fn panels(&self, panel: usize, count: usize) -> Panels<'_> {
        let steps = self.steps();
        Panels {
            blocks: &self.blocks[panel * steps..(panel + count) * steps],
            count,
        }
    }

    /// Takes a new shape; every block is overwritten by the caller. Returns the steps.
    fn reset(&mut self, rows: usize, cols: usize) -> usize {
        assert!(
            cols <= MAX_COLS,
            "expected at most {MAX_COLS} inputs, found {cols}"
        );
        (self.rows, self.cols) = (rows, cols);
        let steps = self.steps();
        let zero = Block([[0; STEP]; LANES]);
        self.blocks.resize(rows.div_ceil(LANES) * steps, zero);
        steps
    }
}

/// Writes four channels (short ones are padded with zeros) into lanes `lane .. lane + 4` of each
/// block: a transpose of 4 x 4 words at a time.
fn interleave_rows(rows: [&[i8]; 4], blocks: &mut [Block], lane: usize) {
    let shared = rows.iter().map(|row| row.len()).min().unwrap_or(0) / LANES;
    let [a, b, c, d] = rows.map(|row| row.as_chunks::<STEP>().0.as_chunks::<4>().0);
    let (whole, rest) = blocks.split_at_mut(4 * shared);
    let words = a.iter().zip(b).zip(c.iter().zip(d));
    for (four, ((a, b), (c, d))) in whole.as_chunks_mut::<4>().0.iter_mut().zip(words) {
        for (step, block) in four.iter_mut().enumerate() {
            if let Some(lanes) = block.0[lane..].first_chunk_mut() {
                *lanes = [a[step], b[step], c[step], d[step]];
            }
        }
    }
    for (step, block) in rest.iter_mut().enumerate() {
        let input = (4 * shared + step) * STEP;
        for (word, row) in block.0[lane..lane + 4].iter_mut().zip(rows) {
            *word = std::array::from_fn(|j| row.get(input + j).copied().unwrap_or(0));
        }
    }
}
