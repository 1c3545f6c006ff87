//! The right operand, laid out in the order in which the kernels read it.

use super::{Left, kernel, multiply_into};

/// Channels (rows of the matrix) in one panel: the `i32` lanes of a 512-bit register.
pub const LANES: usize = 16;
/// Consecutive inputs that one lane multiplies and adds in one step.
pub const STEP: usize = 4;
/// Longest inner dimension whose sum of `255 * -128` still fits `i32`.
pub const MAX_COLS: usize = (1 << 31) / (255 * 128);

/// One step of one panel: [`LANES`] channels times [`STEP`] inputs, lane-major.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Block(pub [i8; LANES * STEP]);

const _: () = assert!(size_of::<Block>() == 64 && align_of::<Block>() == 64);

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
                interleave_rows([row(0), row(1), row(2), row(3)], blocks, quad * STEP);
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
        for step in 0..steps {
            let inputs: [&[i8]; STEP] = std::array::from_fn(|j| {
                let input = step * STEP + j;
                let start = input * stride;
                if input < cols {
                    &values[start..start + rows]
                } else {
                    &[]
                }
            });
            for (panel, block) in self.blocks[step..].iter_mut().step_by(steps).enumerate() {
                let lanes = inputs.map(|input| lanes_at(input, panel * LANES));
                for lane in 0..LANES {
                    for (j, input) in lanes.iter().enumerate() {
                        block.0[lane * STEP + j] = input[lane];
                    }
                }
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

    /// Bytes held, padding included.
    pub fn bytes(&self) -> usize {
        size_of_val(self.blocks.as_slice())
    }

    /// Sum of the codes of each channel, `[rows]`: a left operand with zero point `z` adds
    /// `z * row_sums[n]` too much to output `n`.
    pub fn row_sums(&self) -> Vec<i32> {
        let mut sums = vec![0; self.rows];
        let ones = vec![1; self.cols];
        let left = Left::new(&ones, 1, self.cols);
        multiply_into(kernel::fastest(), left, self, &mut sums, self.rows);
        sums
    }

    /// Steps of [`STEP`] inputs in one panel.
    pub(super) fn steps(&self) -> usize {
        self.cols.div_ceil(STEP)
    }

    /// The blocks of `count` panels from `panel` on.
    pub(super) fn panels(&self, panel: usize, count: usize) -> &[Block] {
        &self.blocks[panel * self.steps()..(panel + count) * self.steps()]
    }

    /// Takes a new shape; every block is overwritten by the caller. Returns the steps.
    fn reset(&mut self, rows: usize, cols: usize) -> usize {
        assert!(
            cols <= MAX_COLS,
            "expected at most {MAX_COLS} inputs, found {cols}"
        );
        (self.rows, self.cols) = (rows, cols);
        let steps = self.steps();
        let zero = Block([0; LANES * STEP]);
        self.blocks.resize(rows.div_ceil(LANES) * steps, zero);
        steps
    }
}

/// Panics unless `len` codes hold `rows` rows of `cols`, `stride` apart.
pub(super) fn assert_extent(len: usize, rows: usize, cols: usize, stride: usize) {
    assert!(
        stride >= cols,
        "expected a stride of at least {cols}, found {stride}"
    );
    let needed = if rows == 0 {
        0
    } else {
        (rows - 1) * stride + cols
    };
    assert!(
        len >= needed,
        "expected at least {needed} codes, found {len}"
    );
}

/// Writes four channels (short ones are padded with zeros) into bytes `offset .. offset + 16` of
/// each block: a transpose of 4 x 4 words, which the compiler keeps in registers.
fn interleave_rows(rows: [&[i8]; 4], blocks: &mut [Block], offset: usize) {
    let mut chunks = rows.map(|row| row.chunks_exact(4 * STEP));
    let shared = chunks.iter().map(ExactSizeIterator::len).min().unwrap_or(0);
    let (whole, rest) = blocks.split_at_mut(4 * shared);
    for four in whole.chunks_exact_mut(4) {
        let words = chunks
            .each_mut()
            .map(|chunk| chunk.next().map_or([0; 16], sixteen));
        for (step, block) in four.iter_mut().enumerate() {
            for (lane, word) in words.iter().enumerate() {
                let at = offset + lane * STEP;
                block.0[at..at + STEP].copy_from_slice(&word[step * STEP..(step + 1) * STEP]);
            }
        }
    }
    for (step, block) in rest.iter_mut().enumerate() {
        for (lane, row) in rows.iter().enumerate() {
            for j in 0..STEP {
                let input = (4 * shared + step) * STEP + j;
                block.0[offset + lane * STEP + j] = row.get(input).copied().unwrap_or(0);
            }
        }
    }
}

/// The 16 codes of a chunk, by value.
fn sixteen(chunk: &[i8]) -> [i8; 16] {
    std::array::from_fn(|i| chunk[i])
}

/// 16 codes from `start` on, zeros past the end.
fn lanes_at(input: &[i8], start: usize) -> [i8; LANES] {
    let tail = input.get(start..).unwrap_or(&[]);
    match tail.first_chunk::<LANES>() {
        Some(lanes) => *lanes,
        None => std::array::from_fn(|lane| tail.get(lane).copied().unwrap_or(0)),
    }
}
