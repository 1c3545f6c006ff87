//! What codes lose on independent standard normal values, beside what theory says of any code.

#![expect(clippy::print_stdout, reason = "figures for a reader of the test log")]

use super::gaussians;
use crate::trellis::tile::WEIGHTS;
use crate::trellis::{CODES, Code, Encoder, Geometry};

/// Mean squared error of the best scalar quantizer, by bits (Max 1960).
const SCALAR: [f64; 5] = [f64::NAN, 0.363_4, 0.117_5, 0.034_54, 0.009_497];

/// Mean squared error of `code` on `tiles` tiles, with the values multiplied by `factor` times the size of the code.
fn error(code: Code, geometry: Geometry, tiles: usize, factor: f64) -> f64 {
    let encoder = Encoder::new(code, geometry, WEIGHTS);
    let scale = factor * code.rms(geometry.state_bits);
    let values = gaussians(tiles * WEIGHTS, 11);
    let scaled: Vec<f32> = values
        .iter()
        .map(|value| (f64::from(*value) * scale) as f32)
        .collect();
    let mut states = vec![0; scaled.len()];
    encoder.encode(&scaled, &mut states);
    let errors = scaled
        .iter()
        .zip(states)
        .map(|(value, state)| (f64::from(value - encoder.value(state)) / scale).powi(2));
    errors.sum::<f64>() / values.len() as f64
}

/// The least error over a few factors.
fn best(code: Code, geometry: Geometry, tiles: usize, factors: &[f64]) -> (f64, f64) {
    let tried = factors
        .iter()
        .map(|factor| (error(code, geometry, tiles, *factor), *factor));
    tried.fold((f64::INFINITY, 0.0), |best, next| {
        if next.0 < best.0 { next } else { best }
    })
}

#[test]
fn codes_of_12_bits_are_within_40_percent_of_the_bound() {
    for code in CODES.iter().map(|code| Code(code)) {
        for bits in [2_u8, 3, 4] {
            let geometry = Geometry {
                bits,
                state_bits: 12,
            };
            let (error, _) = best(code, geometry, 32, &[0.85, 0.9, 0.95]);
            let bound = 0.25_f64.powi(i32::from(bits));
            let scalar = SCALAR[usize::from(bits)];
            println!(
                "{} {bits} bits: {error:.5}, bound {bound:.5}, scalar {scalar:.5}",
                code.0.name
            );
            assert!(
                error < 1.4 * bound,
                "{} {bits} bits: {error} of {bound}",
                code.0.name
            );
        }
    }
}

#[test]
#[ignore = "minutes"]
fn codes_of_16_bits_are_within_12_percent_of_the_bound() {
    for code in CODES.iter().map(|code| Code(code)) {
        for bits in [2_u8, 3, 4] {
            let geometry = Geometry {
                bits,
                state_bits: 16,
            };
            let (error, factor) = best(code, geometry, 192, &[0.85, 0.9, 0.95, 1.0]);
            let bound = 0.25_f64.powi(i32::from(bits));
            let scalar = SCALAR[usize::from(bits)];
            println!(
                "{} {bits} bits: {error:.6} at a factor of {factor}, {:.3} of the bound {bound:.6}; scalar {scalar:.5}",
                code.0.name,
                error / bound
            );
            assert!(
                error < 1.12 * bound,
                "{} {bits} bits: {error} of {bound}",
                code.0.name
            );
        }
    }
}
