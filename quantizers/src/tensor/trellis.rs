//! Trellis codes in a rotated basis: streams of tiles, and a signed scale for each input and each output.

use super::digest::Parts;
use super::encoding::Dense;
use super::invalid::{InvalidTensor, finite, length};
use super::scheme::{Scheme, SchemeKind};
use crate::linalg::hadamard;
use crate::trellis::{self, BITS, Code, Geometry, STATE_BITS, tile};
use bytemuck::cast_slice;
use half::f16;

/// Weights as streams: `w[o, i] = r[o, i] / sqrt(n m) * input_scales[i] * output_scales[o]`, where `r` is
/// `H_n q H_m` for every block of `n` outputs and `m` inputs ([`hadamard::block`] of either side) and `q` the values of
/// the streams. Products and sums are in f32, in this order.
#[derive(Debug, Clone, PartialEq)]
pub struct Trellis {
    /// `K`: bits of a weight, 1 to 8.
    pub bits: u8,
    /// `L`: bits of a state, 12 to 16.
    pub state_bits: u8,
    /// From states to values.
    pub code: Code,
    /// The streams of tiles of 16 x 16 weights, `[in / 16, out / 16, 8 bits]`; see [`trellis::pack`] and [`tile`].
    pub streams: Vec<u32>,
    /// Signed scales of the inputs, `[in]`.
    pub input_scales: Vec<f16>,
    /// Signed scales of the outputs, `[out]`.
    pub output_scales: Vec<f16>,
}

/// Bits of streams, scales and the marker of the code.
pub(super) fn storage_bits((rows, cols): (usize, usize), bits: u8, code: Code) -> u64 {
    let marker = if code.0.marker.is_some() { 32 } else { 0 };
    u64::from(bits) * (rows * cols) as u64 + 16 * (rows + cols) as u64 + marker
}

impl Trellis {
    fn geometry(&self) -> Geometry {
        Geometry {
            bits: self.bits,
            state_bits: self.state_bits,
        }
    }

    /// Words of the stream of a tile.
    fn tile_words(&self) -> usize {
        trellis::words(tile::WEIGHTS, self.bits)
    }

    /// Values of the streams for the rows from `first` on, `[rows of out, cols]`, before they are rotated.
    ///
    /// # Panics
    /// When `first` or the number of rows is no multiple of 16, or [`super::QuantizedTensor::check`] would fail.
    pub fn rotated(&self, first: usize, cols: usize, out: &mut [f32]) {
        let values = self.code.values(self.state_bits);
        let rows = out.len() / cols;
        let tile_words = self.tile_words();
        let across = self.output_scales.len() / tile::SIDE * tile_words;
        let mut states = [0; tile::WEIGHTS];
        for (block, streams) in self.streams.chunks_exact(across).enumerate() {
            let tiles = streams.chunks_exact(tile_words).skip(first / tile::SIDE);
            for (strip, stream) in tiles.take(rows / tile::SIDE).enumerate() {
                trellis::unpack(stream, self.geometry(), &mut states);
                for (state, (input, output)) in states.iter().zip(tile::ORDER) {
                    let row = strip * tile::SIDE + usize::from(output);
                    let col = block * tile::SIDE + usize::from(input);
                    out[row * cols + col] = values[usize::from(*state)];
                }
            }
        }
    }
}

impl Dense for Trellis {
    fn check(&self, rows: usize, cols: usize) -> Result<(), InvalidTensor> {
        if !BITS.contains(&self.bits) {
            return Err(InvalidTensor::Bits(self.bits));
        }
        if !STATE_BITS.contains(&self.state_bits) {
            return Err(InvalidTensor::StateBits(self.state_bits));
        }
        if !rows.is_multiple_of(tile::SIDE) || !cols.is_multiple_of(tile::SIDE) {
            return Err(InvalidTensor::Tiles { rows, cols });
        }
        let words = (rows / tile::SIDE).saturating_mul(cols / tile::SIDE) * self.tile_words();
        length("words of streams", words, self.streams.len())?;
        for (part, expected, scales) in [
            ("input scales", cols, &self.input_scales),
            ("output scales", rows, &self.output_scales),
        ] {
            length(part, expected, scales.len())?;
            finite(part, scales.iter().map(|scale| scale.to_f32()))?;
        }
        Ok(())
    }

    fn storage_bits(&self, rows: usize, cols: usize) -> u64 {
        storage_bits((rows, cols), self.bits, self.code)
    }

    fn band(&self, rows: usize) -> usize {
        hadamard::block(rows)
    }

    fn decode_band(&self, first: usize, (_, cols): (usize, usize), out: &mut [f32]) {
        self.rotated(first, cols, out);
        let sides = (out.len() / cols, hadamard::block(cols));
        hadamard::transform_both(out, cols, sides);
        let norm = norm(sides);
        let inputs: Vec<f32> = self
            .input_scales
            .iter()
            .map(|scale| scale.to_f32())
            .collect();
        for (row, scale) in out.chunks_exact_mut(cols).zip(&self.output_scales[first..]) {
            let output = scale.to_f32();
            for (value, input) in row.iter_mut().zip(&inputs) {
                *value = *value * norm * input * output;
            }
        }
    }

    fn decode_row(&self, row: usize, rows: usize, out: &mut [f32]) {
        let (cols, height) = (out.len(), self.band(rows));
        let mut band = vec![0.0; height * cols];
        self.decode_band(row / height * height, (rows, cols), &mut band);
        out.copy_from_slice(&band[row % height * cols..][..cols]);
    }

    fn add_to(&self, digest: &mut Parts) {
        digest.add("trellis", &[self.bits, self.state_bits]);
        digest.add("code", self.code.0.name.as_bytes());
        digest.add("streams", cast_slice(&self.streams));
        digest.add("input scales", cast_slice(&self.input_scales));
        digest.add("output scales", cast_slice(&self.output_scales));
    }

    fn matches(&self, scheme: &Scheme) -> bool {
        let (code, state_bits) = (self.code, self.state_bits);
        scheme.kind == SchemeKind::Trellis { code, state_bits } && scheme.bits == self.bits
    }
}

/// `1 / sqrt(n m)`: what makes a transform of both sides of a block orthogonal.
fn norm((rows, cols): (usize, usize)) -> f32 {
    #[expect(clippy::cast_possible_truncation, reason = "1 / 128 mostly")]
    let norm = (1.0 / ((rows * cols) as f64).sqrt()) as f32;
    norm
}
