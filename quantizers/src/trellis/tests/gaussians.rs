//! What codes lose on independent standard normal values, beside what theory says of any code.

#![expect(clippy::print_stdout, reason = "figures for a reader of the test log")]

use super::gaussians;
use crate::trellis::tile::WEIGHTS;
use crate::trellis::{CODES, Code, Encoder, Geometry};

/// Mean squared error of the best scalar quantizer, by bits (Max 1960).
const SCALAR: [f64; 5] = [f64::NAN, 0.363_4, 0.117_5, 0.034_54, 0.009_497];

/// Mean squared error of `code` over the mean square, on `tiles` tiles with the values multiplied by `factor` times
/// the size of the code.
#[expect(clippy::cast_possible_truncation, reason = "weights are f32")]
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
    let square = |value: f32| f64::from(value).powi(2);
    let errors = scaled.iter().zip(states);
    let errors = errors.map(|(value, state)| square(value - encoder.value(state)));
    errors.sum::<f64>() / scaled.iter().map(|value| square(*value)).sum::<f64>()
}

/// The least error of `code` over a few factors, over the bound `4^-bits`.
fn over_the_bound(code: Code, bits: u8, state_bits: u8, tiles: usize) -> f64 {
    let geometry = Geometry { bits, state_bits };
    let tried = [0.9, 0.95, 1.0].map(|factor| (error(code, geometry, tiles, factor), factor));
    let (error, factor) = tried
        .into_iter()
        .reduce(|a, b| if b.0 < a.0 { b } else { a })
        .unwrap();
    let bound = 0.25_f64.powi(i32::from(bits));
    println!(
        "{} of {bits} bits, states of {state_bits}: {error:.6} at a factor of {factor}, {:.3} of the bound {bound:.6}; \
         scalar {:.5}",
        code.0.name,
        error / bound,
        SCALAR[usize::from(bits)]
    );
    error / bound
}

#[test]
fn codes_of_12_bits_are_within_40_percent_of_the_bound() {
    for code in CODES.iter().map(|code| Code(code)) {
        for bits in [2, 3, 4] {
            assert!(
                over_the_bound(code, bits, 12, 32) < 1.4,
                "{} {bits}",
                code.0.name
            );
        }
    }
}

/// At 2 bits every code is within 12 % of the bound, at 3 bits `mcg` is. At 4 bits only `strata` is: a window holds four
/// weights only, so that what can be chosen among has to be spread out well, and the values of `3inst` and `mcg` end at
/// 3.2 times their size.
#[test]
#[ignore = "minutes"]
fn codes_of_16_bits_are_close_to_the_bound() {
    for code in CODES.iter().map(|code| Code(code)) {
        let within = match code.0.name {
            "strata" => [1.12, 1.12, 1.12],
            "mcg" => [1.12, 1.12, 1.18],
            _ => [1.12, 1.14, 1.2],
        };
        for (bits, within) in [2, 3, 4].into_iter().zip(within) {
            let found = over_the_bound(code, bits, 16, 128);
            assert!(found < within, "{} {bits}: {found}", code.0.name);
        }
    }
}
