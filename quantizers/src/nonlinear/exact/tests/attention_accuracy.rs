//! Integer attention against the real one on the same 8-bit inputs.

use super::samples::{generator, largest, normal, quantized, sqnr_db, symmetric, values};
use crate::integer::attention::{HeadAttention, Inputs, NARROW, POSITION_BITS, WIDE, at};
use crate::integer::kernel::Mode;
use crate::integer::{Checked, Wrapping};
use crate::nonlinear::exact::attention::{compile, decay};
use crate::nonlinear::{AttentionRequest, Grid};
use rand::RngExt;

/// Real inputs of one head, their codes, and real attention of both.
struct Set {
    codes: [Vec<i32>; 3],
    scales: [f64; 3],
    keys: usize,
    width: usize,
    /// Of the real inputs.
    reference: Vec<f64>,
    /// Of the codes.
    ceiling: Vec<f64>,
}

fn real([q, k, v]: [&[f64]; 3], width: usize) -> Vec<f64> {
    let mut out = Vec::new();
    for query in q.chunks(width) {
        let scores: Vec<f64> = k
            .chunks(width)
            .map(|key| key.iter().zip(query).map(|(a, b)| a * b).sum::<f64>())
            .map(|score| score / (width as f64).sqrt())
            .collect();
        let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = scores.iter().map(|s| (s - highest).exp()).collect();
        let total: f64 = weights.iter().sum();
        for channel in 0..width {
            let values = v.chunks(width).map(|value| value[channel]);
            let sum: f64 = weights.iter().zip(values).map(|(w, x)| w * x).sum();
            out.push(sum / total);
        }
    }
    out
}

fn set(seed: u64, uniform: bool, keys: usize, width: usize) -> Set {
    let mut random = generator(seed);
    let inputs: [Vec<f64>; 3] = std::array::from_fn(|_| {
        (0..keys * width)
            .map(|_| {
                if uniform {
                    random.random_range(-4.0..4.0)
                } else {
                    normal(&mut random)
                }
            })
            .collect()
    });
    let grids: [Grid; 3] = std::array::from_fn(|i| Grid {
        low: -127,
        ..symmetric(largest(&inputs[i]), 8)
    });
    let codes: [Vec<i32>; 3] = std::array::from_fn(|i| quantized(&inputs[i], &grids[i]));
    let rounded: [Vec<f64>; 3] = std::array::from_fn(|i| values(&codes[i], &grids[i]));
    Set {
        reference: real([&inputs[0], &inputs[1], &inputs[2]], width),
        ceiling: real([&rounded[0], &rounded[1], &rounded[2]], width),
        scales: std::array::from_fn(|i| grids[i].scales[0]),
        codes,
        keys,
        width,
    }
}

/// Bytes of a head: queries with zero point 128, keys and values with sign.
struct Bytes {
    queries: Vec<u8>,
    keys: Vec<i8>,
    values: Vec<i8>,
}

impl Bytes {
    fn of([q, k, v]: &[Vec<i32>; 3]) -> Self {
        let signed = |codes: &[i32]| -> Vec<i8> {
            let codes = codes.iter().copied();
            codes.map(|code| i8::try_from(code).unwrap()).collect()
        };
        let queries = q.iter().map(|code| u8::try_from(code + 128).unwrap());
        Self {
            queries: queries.collect(),
            keys: signed(k),
            values: signed(v),
        }
    }

    fn inputs(&self) -> Inputs<'_> {
        Inputs {
            queries: &self.queries,
            keys: &self.keys,
            values: &self.values,
        }
    }
}

fn head(set: &Set, weight_bits: u32, output: Grid) -> HeadAttention {
    compile(&AttentionRequest {
        query: Grid {
            scales: vec![set.scales[0]],
            zero_point: 128,
            low: 0,
            high: 255,
        },
        key_scale: set.scales[1],
        value_scale: set.scales[2],
        factor: 1.0 / (set.width as f64).sqrt(),
        output,
        head_dim: set.width,
        most_keys: set.keys,
        weight_bits,
        guard_bits: if weight_bits == 8 { 8 } else { 4 },
    })
    .unwrap()
}

fn codes_of(attention: &HeadAttention, inputs: Inputs<'_>, tile: Option<usize>) -> Vec<i32> {
    let mut out = vec![0; inputs.queries.len()];
    let outcome = match tile {
        Some(tile) => attention.online(Mode::Fast, inputs, tile, &mut out),
        None => attention.whole(Mode::Fast, inputs, &mut out),
    };
    outcome.unwrap();
    out
}

/// SQNR of one form against real attention of the real inputs, dB.
fn measured(set: &Set, weight_bits: u32, bits: u32, tile: Option<usize>) -> f64 {
    let output = symmetric(largest(&set.reference), bits);
    let attention = head(set, weight_bits, output.clone());
    let bytes = Bytes::of(&set.codes);
    let found = codes_of(&attention, bytes.inputs(), tile);
    sqnr_db(&set.reference, &values(&found, &output))
}

/// The three kinds of set, and their names.
const SETS: [(&str, bool, usize, usize); 4] = [
    ("uniform", true, 197, 64),
    ("uniform", true, 49, 32),
    ("normal", false, 197, 64),
    ("normal", false, 512, 64),
];

/// Real attention whose weights, a key's share of the largest, are rounded to `1 / most`.
fn rounded_weights(set: &Set, most: f64) -> Vec<f64> {
    let real = |i: usize| -> Vec<f64> {
        let codes = set.codes[i].iter();
        codes.map(|q| f64::from(*q) * set.scales[i]).collect()
    };
    let (q, k, v) = (real(0), real(1), real(2));
    let mut out = Vec::new();
    for query in q.chunks(set.width) {
        let scores: Vec<f64> = k
            .chunks(set.width)
            .map(|key| key.iter().zip(query).map(|(a, b)| a * b).sum::<f64>())
            .collect();
        let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let share = |s: &f64| ((s - highest) / (set.width as f64).sqrt()).exp();
        let weights: Vec<f64> = scores.iter().map(|s| (share(s) * most).round()).collect();
        let total: f64 = weights.iter().sum();
        for channel in 0..set.width {
            let values = v.chunks(set.width).map(|value| value[channel]);
            let sum: f64 = weights.iter().zip(values).map(|(w, x)| w * x).sum();
            out.push(sum / total);
        }
    }
    out
}

#[test]
#[expect(clippy::print_stdout, reason = "the table is read with --nocapture")]
fn attention_reaches_its_ceiling() {
    for (seed, (name, uniform, keys, width)) in SETS.into_iter().enumerate() {
        let set = set(seed as u64, uniform, keys, width);
        let ceiling = sqnr_db(&set.reference, &set.ceiling);
        let eight = sqnr_db(&set.reference, &rounded_weights(&set, 255.0));
        println!("{name} {keys}x{width}: ceiling {ceiling:.2}, 8-bit weights {eight:.2}");
        for tile in [None, Some(64)] {
            let wide = measured(&set, 15, 16, tile);
            let narrow = measured(&set, 8, 16, tile);
            let bytes = measured(&set, 8, 8, tile);
            println!("  {tile:?}: p15 out16 {wide:.2}, p8 out16 {narrow:.2}, p8 out8 {bytes:.2}");
            assert!(ceiling - wide < 0.1, "{wide} {ceiling}");
            // 8-bit weights cost what rounding costs, not more; tiles round to a local maximum.
            assert!(eight - narrow < 0.05, "{narrow} {eight}");
        }
    }
}

/// Every position that is told apart, to the octaves whose weights are zero.
#[test]
fn weights_of_all_positions_fall_and_stay_within_their_error() {
    for (bits, worst) in [(8, 0.505), (15, 1.1)] {
        let full = f64::from((1 << bits) - 1);
        let mut before = i64::MAX;
        for step in 0..17 << (POSITION_BITS - 6) {
            let position = step << 6;
            let weight = at(&Wrapping, bits, position);
            assert!(weight <= before, "{bits} bits at {position}");
            before = weight;
            for edge in [position, position + 63] {
                let octaves = edge as f64 / f64::from(1 << POSITION_BITS);
                let apart = (weight as f64 - full * (-octaves).exp2()).abs();
                assert!(apart < worst, "{bits} bits at {edge}: {apart}");
            }
        }
        assert_eq!(before, 0);
        assert_eq!(at(&Wrapping, bits, 0), (1 << bits) - 1);
        assert_eq!(at(&Wrapping, bits, (32 << POSITION_BITS) - 1), 0);
    }
}

#[test]
fn tables_are_rounded_powers() {
    for (table, full) in [(&WIDE, 65_534.0), (&NARROW, 65_280.0)] {
        for (i, entry) in table.iter().enumerate() {
            let power = (-(i as f64) / 32.0).exp2();
            let apart = f64::from(*entry) - full * power;
            assert!(apart.abs() < 0.5, "{entry}: {apart}");
        }
    }
}

#[test]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "distances within 32 bits"
)]
fn weights_of_distances_are_those_of_exponentials() {
    for scale in [1e-11, 3e-6, 2.3e-4, 0.01, 0.7, 9.9] {
        let decay = decay(scale).unwrap();
        assert_eq!(decay.invalid(), None);
        decay.bounds().unwrap();
        for bits in [8, 15] {
            let full = f64::from((1 << bits) - 1);
            let checked = Checked::default();
            let last = (18.0 / scale).min(f64::from(u32::MAX));
            for step in 0..5_000 {
                // Scores have 32 bits: so have their distances.
                let distance = i64::from((last * f64::from(step) / 5_000.0) as u32);
                let weight = decay.weight(&checked, bits, distance) as f64;
                let apart = (weight - full * (-scale * distance as f64).exp()).abs();
                assert!(apart < 1.11, "{scale}, {bits} bits at {distance}: {apart}");
            }
            let last = decay.weight(&checked, bits, u32::MAX.into());
            assert_eq!(last == 0, scale > 1e-9, "{scale}");
            assert_eq!(checked.outcome(), Ok(()));
        }
    }
    assert!(decay(11.0).is_none());
}
