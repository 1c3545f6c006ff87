//! Layers whose weights lie as `[in, out]` integers with a scale and a zero point for each group of inputs: what
//! GPTQ and AWQ have in common.

use rayon::prelude::*;

/// Rows of the result that one thread fills together, so that words are read in runs.
const TILE: usize = 32;

/// The unpacked parts of a layer. The weight is `scale * (code - zero_point)`.
pub(super) struct Grid<'a> {
    /// `[groups, out]`.
    pub(super) scales: &'a [f32],
    /// `[groups, out]`.
    pub(super) zero_points: &'a [u16],
    /// Group of each input, below the number of groups.
    pub(super) groups: &'a [usize],
}

impl Grid<'_> {
    /// Weights as `[out, in]`; `code` gives that of an input and an output.
    pub(super) fn weights(
        &self,
        outputs: usize,
        code: impl Fn(usize, usize) -> u32 + Sync,
    ) -> Vec<f32> {
        let inputs = self.groups.len();
        let mut weights = vec![0.0_f32; inputs * outputs];
        if weights.is_empty() {
            return weights;
        }
        weights
            .par_chunks_mut(TILE * inputs)
            .enumerate()
            .for_each(|(tile, weights)| {
                let first = tile * TILE;
                for (input, &group) in self.groups.iter().enumerate() {
                    for (row, weights) in weights.chunks_mut(inputs).enumerate() {
                        let output = first + row;
                        let at = group * outputs + output;
                        let steps =
                            code(input, output).cast_signed() - i32::from(self.zero_points[at]);
                        weights[input] = self.scales[at] * steps as f32;
                    }
                }
            });
        weights
    }
}

/// Code `index` of a stream of `bits`-bit codes, low bits first; `word` gives the 32-bit words of it.
pub(super) fn stream_code(index: usize, bits: u8, word: impl Fn(usize) -> u32) -> u32 {
    let width = usize::from(bits);
    let (at, shift) = (index * width / 32, index * width % 32);
    let mut code = word(at) >> shift;
    if shift + width > 32 {
        code |= word(at + 1) << (32 - shift);
    }
    code & ((1 << width) - 1)
}
