//! Measured errors of softmax over the rows of the tables.

use crate::golden_rows::run;
use crate::numpy::DefaultRng;
use crate::sqnr::{Errors, codes};
use quantizers::nonlinear::{Approximation, Grid, Request, fq_vit, i_bert, i_vit};
use std::sync::LazyLock;

/// Real logits, `[rows, width]`.
struct Logits {
    values: Vec<f64>,
    width: usize,
}

/// `default_rng(20240701)`: S1 `normal(0, 2, (256, 197))`; S2 `normal(0, 1, (256, 197))` with
/// `uniform(3, 8)` added at one `integers(0, 197)` of every row; S3 `normal(0, 3, (128, 512))`.
static LOGITS: LazyLock<[Logits; 3]> = LazyLock::new(|| {
    let mut rng = DefaultRng::new(20_240_701);
    let first = rng.normal(0.0, 2.0, 256 * 197);
    let mut second = rng.normal(0.0, 1.0, 256 * 197);
    let places = rng.integers(197, 256);
    let peaks = rng.uniform(3.0, 8.0, 256);
    for (row, (place, peak)) in places.iter().zip(peaks).enumerate() {
        second[row * 197 + place] += peak;
    }
    let third = rng.normal(0.0, 3.0, 128 * 512);
    [(first, 197), (second, 197), (third, 512)].map(|(values, width)| Logits { values, width })
});

fn softmax(row: &[f64]) -> Vec<f64> {
    let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exponentials: Vec<f64> = row.iter().map(|x| (x - most).exp()).collect();
    let sum: f64 = exponentials.iter().sum();
    exponentials.into_iter().map(|e| e / sum).collect()
}

/// Errors against the softmax of the dequantized codes, and the mean sum of a row.
fn errors(
    op: &dyn Approximation,
    bits: u32,
    rows: &[i32],
    width: usize,
    scale: f64,
) -> (Errors, f64) {
    let request = Request {
        input: Grid {
            scales: vec![scale],
            zero_point: 0,
            low: *rows.iter().min().unwrap(),
            high: *rows.iter().max().unwrap(),
        },
        output: None,
        output_bits: bits,
        width,
        gamma: Vec::new(),
        beta: Vec::new(),
        epsilon: 0.0,
        code_variance: None,
    };
    let compiled = op.compile(&request).unwrap();
    let (mut reference, mut found) = (Vec::new(), Vec::new());
    for row in rows.chunks(width) {
        let real: Vec<f64> = row.iter().map(|q| f64::from(*q) * scale).collect();
        reference.extend(softmax(&real));
        let codes = run(&*compiled.kernel, row);
        found.extend(codes.iter().map(|q| compiled.output.value(*q, 0)));
    }
    let sum = found.iter().sum::<f64>() / (rows.len() / width) as f64;
    (Errors::of(&reference, &found), sum)
}

/// Errors on 8-bit codes of S1, S2, S3.
fn all(op: &dyn Approximation, bits: u32) -> [(Errors, f64); 3] {
    LOGITS.each_ref().map(|logits| {
        let (rows, scale) = codes(&logits.values, 127);
        errors(op, bits, &rows, logits.width, scale)
    })
}

fn sums(found: &[(Errors, f64); 3]) -> [String; 3] {
    found.each_ref().map(|(_, sum)| format!("{sum:.2}"))
}

#[test]
fn the_scales_are_those_of_the_table() {
    let found = LOGITS
        .each_ref()
        .map(|logits| format!("{:.4}", codes(&logits.values, 127).1));
    assert_eq!(found, ["0.0653", "0.0860", "0.1055"]);
}

#[test]
fn i_bert_of_bytes() {
    let eight = all(&i_bert::softmax::Softmax, 8);
    let expected = [
        "3.839e-2/1.075e-3/20.35",
        "1.381e-1/1.559e-3/15.83",
        "6.767e-2/3.792e-4/20.37",
    ];
    assert_eq!(eight.each_ref().map(|(errors, _)| errors.row()), expected);
    assert_eq!(sums(&eight), ["0.79", "0.71", "0.81"]);
    let sixteen = all(&i_bert::softmax::Softmax, 16);
    let expected = [
        "3.527e-2/2.277e-4/24.96",
        "1.353e-1/8.958e-4/16.16",
        "6.532e-2/1.756e-4/21.51",
    ];
    assert_eq!(sixteen.map(|(errors, _)| errors.row()), expected);
}

#[test]
fn i_bert_of_fine_scores() {
    let fine = |bits| {
        LOGITS.each_ref().map(|logits| {
            let scale = codes(&logits.values, 127).1 / 512.0;
            let rows = &logits.values[..64 * logits.width];
            #[expect(clippy::cast_possible_truncation, reason = "17 bits")]
            let rows: Vec<i32> = rows
                .iter()
                .map(|x| (x / scale).round_ties_even() as i32)
                .collect();
            let op = &i_bert::softmax::Softmax;
            errors(op, bits, &rows, logits.width, scale).0.decibels()
        })
    };
    assert_eq!(fine(8), ["22.49", "28.41", "28.03"]);
    assert_eq!(fine(16), ["57.97", "69.07", "59.98"]);
}

#[test]
fn i_vit_of_bytes() {
    let eight = all(&i_vit::softmax::Softmax, 8);
    assert_eq!(sums(&eight), ["0.67", "0.61", "0.73"]);
    assert_eq!(
        eight.map(|(errors, _)| errors.decibels()),
        ["15.55", "20.47", "17.92"]
    );
    let sixteen = all(&i_vit::softmax::Softmax, 16);
    assert_eq!(sixteen[0].0.row(), "6.060e-2/3.542e-4/19.78");
    assert_eq!(
        sixteen.map(|(errors, _)| errors.decibels()),
        ["19.78", "23.34", "19.86"]
    );
}

#[test]
fn fq_vit_of_bytes() {
    let found = all(&fq_vit::softmax::Softmax, 8);
    assert_eq!(sums(&found), ["1.05", "1.07", "1.04"]);
    let rows = found.map(|(errors, _)| errors.row());
    let expected = [
        "1.918e-1/9.578e-4/13.95",
        "2.851e-1/1.362e-3/12.70",
        "2.617e-1/4.208e-4/13.24",
    ];
    assert_eq!(rows, expected);
}
