//! The size that rotated weights should have: where a sample of them is nearest to its streams.

use super::rounding::tiles;
use crate::trellis::tile::{SIDE, WEIGHTS};
use crate::trellis::{Code, Encoder, Geometry};

/// Tiles in the sample.
const TILES: usize = 64;
/// Most bits of the states that are searched with: the place of the least error hardly depends on them, its cost does.
const STATE_BITS: u8 = 12;
/// Sizes of the values to be tried, over that of the code.
const FROM: f64 = 0.6;
const STEP: f64 = 0.05;
const STEPS: usize = 13;

/// The factor for `rotated` `[rows, cols]`, whose root mean square is that of the code, with which the streams are
/// nearest to it in relation to it: the best of a grid, moved to where a parabola through its neighbours is least.
pub(super) fn best_scale(rotated: &[f32], cols: usize, code: Code, geometry: Geometry) -> f64 {
    let sample = sample(rotated, cols);
    let coarse = Geometry {
        state_bits: geometry.state_bits.min(STATE_BITS),
        ..geometry
    };
    let encoder = Encoder::new(code, coarse, WEIGHTS);
    let factor = |step: usize| FROM + STEP * step as f64;
    let found: Vec<f64> = (0..STEPS)
        .map(|step| error(&sample, factor(step), &encoder))
        .collect();
    let best = (1..STEPS).fold(0, |best, step| {
        if found[step] < found[best] {
            step
        } else {
            best
        }
    });
    let offset = match (best.checked_sub(1), found.get(best + 1)) {
        (Some(before), Some(after)) => {
            let (before, at) = (found[before], found[best]);
            let bend = before - 2.0 * at + after;
            if bend > 0.0 {
                (0.5 * (before - after) / bend).clamp(-0.5, 0.5)
            } else {
                0.0
            }
        }
        _ => 0.0,
    };
    factor(best) + STEP * offset
}

/// Squared error of `sample` that is multiplied by `factor`, rounded, and divided by it again.
fn error(sample: &[f32], factor: f64, encoder: &Encoder) -> f64 {
    #[expect(clippy::cast_possible_truncation, reason = "weights are f32")]
    let scaled: Vec<f32> = sample
        .iter()
        .map(|value| (f64::from(*value) * factor) as f32)
        .collect();
    let mut states = vec![0; scaled.len()];
    encoder.encode(&scaled, &mut states);
    let errors = scaled.iter().zip(states).map(|(value, state)| {
        let error = f64::from(*value) - f64::from(encoder.value(state));
        error * error
    });
    errors.sum::<f64>() / (factor * factor)
}

/// Up to [`TILES`] tiles from all over the matrix, as sequences.
fn sample(rotated: &[f32], cols: usize) -> Vec<f32> {
    let across = cols / SIDE;
    let all = rotated.len() / WEIGHTS;
    let count = all.min(TILES);
    let mut sequences = vec![0.0; count * WEIGHTS];
    let mut tile = vec![0.0; WEIGHTS];
    for (at, sequence) in sequences.chunks_exact_mut(WEIGHTS).enumerate() {
        let chosen = at * all / count;
        let start = chosen / across * SIDE * cols + chosen % across * SIDE;
        for (row, out) in tile.chunks_exact_mut(SIDE).enumerate() {
            out.copy_from_slice(&rotated[start + row * cols..][..SIDE]);
        }
        tiles(&tile, sequence);
    }
    sequences
}
