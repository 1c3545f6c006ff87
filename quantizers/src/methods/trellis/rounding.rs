//! Rounds a rotated matrix to streams, block of columns by block of columns from the last one.

use super::feedback::BlockFeedback;
use crate::trellis::tile::{ORDER, SIDE, WEIGHTS};
use crate::trellis::{Encoder, pack, words};

/// Streams of a rotated matrix, `[cols / 16, rows / 16, words]`.
pub(super) fn round(
    rotated: &[f32],
    cols: usize,
    encoder: &Encoder,
    feedback: &BlockFeedback,
) -> Vec<u32> {
    let rows = rotated.len() / cols;
    let bits = encoder.geometry().bits;
    let tile_words = words(WEIGHTS, bits);
    let across = rows / SIDE * tile_words;
    let mut streams = vec![0; cols / SIDE * across];
    let mut errors = vec![0.0; rotated.len()];
    let mut target = vec![0.0; rows * SIDE];
    let mut sequences = vec![0.0; rows * SIDE];
    let mut states = vec![0; rows * SIDE];
    let blocks = streams.chunks_exact_mut(across).enumerate();
    for (block, streams) in blocks.rev() {
        let start = block * SIDE;
        let of_block = |row: usize| &rotated[row * cols + start..][..SIDE];
        for (row, target) in target.chunks_exact_mut(SIDE).enumerate() {
            target.copy_from_slice(of_block(row));
        }
        feedback.add(&errors, start, &mut target);
        tiles(&target, &mut sequences);
        encoder.encode(&sequences, &mut states);
        let tiles = states
            .chunks_exact(WEIGHTS)
            .zip(streams.chunks_exact_mut(tile_words));
        for (strip, (states, stream)) in tiles.enumerate() {
            pack(states, bits, stream);
            for (state, (input, output)) in states.iter().zip(ORDER) {
                let row = strip * SIDE + usize::from(output);
                let at = row * cols + start + usize::from(input);
                errors[at] = rotated[at] - encoder.value(*state);
            }
        }
    }
    streams
}

/// `strip` `[rows, 16]` as the sequences of its tiles, `[rows / 16, 256]`.
pub(super) fn tiles(strip: &[f32], sequences: &mut [f32]) {
    let tiles = strip.chunks_exact(WEIGHTS);
    for (tile, sequence) in tiles.zip(sequences.chunks_exact_mut(WEIGHTS)) {
        for (value, (input, output)) in sequence.iter_mut().zip(ORDER) {
            *value = tile[usize::from(output) * SIDE + usize::from(input)];
        }
    }
}
