//! Plans of trellis codes, and what they make of small matrices.

use super::*;
use crate::error_metrics::Deviation;

fn configure(text: &str) -> Result<Box<dyn Quantizer>, ParamError> {
    TrellisMethod.configure(&text.parse().unwrap())
}

const FAST: &str = "bits = 2\nstate_bits = 12";

fn wave(count: usize, step: usize) -> Vec<f32> {
    let wave = |at: usize| ((at * step % 101) as f32 / 50.0 - 1.0).sin();
    (0..count)
        .map(|at| wave(at * at) + 0.3 * wave(at / 7))
        .collect()
}

/// A weight and the `X^T X` of correlated inputs.
fn layer(rows: usize, cols: usize) -> (Vec<f32>, Vec<f32>) {
    let inputs = wave(4 * cols * cols, 37);
    let mut hessian = vec![0.0; cols * cols];
    for input in inputs.chunks(cols) {
        for (row, a) in hessian.chunks_mut(cols).zip(input) {
            row.iter_mut().zip(input).for_each(|(sum, b)| *sum += a * b);
        }
    }
    (wave(rows * cols, 29), hessian)
}

fn quantize(rule: &str, rows: usize, cols: usize, hessian: &[f32]) -> Quantized {
    let (weight, _) = layer(rows, cols);
    let quantizer = configure(rule).unwrap();
    let plan = quantizer.plan(rows, cols, FloatType::F16).unwrap();
    let stats = LayerStats::new("layer", 5).with(&HESSIAN, hessian);
    let weight = MatrixRef::new(&weight, rows, cols).unwrap();
    let found = quantizer.quantize(weight, &plan, &stats).unwrap();
    found.tensor.check().unwrap();
    assert!(found.tensor.matches(&plan.scheme));
    let planned = plan
        .scheme
        .storage_bits(rows, cols, plan.scale_type, plan.outliers);
    assert_eq!(found.tensor.storage_bits(), planned);
    found
}

fn lost(found: &Quantized, hessian: &[f32]) -> f64 {
    let (rows, cols) = (found.tensor.rows, found.tensor.cols);
    let (weight, decoded) = (layer(rows, cols).0, found.tensor.dequantize());
    let matrix = |values| MatrixRef::new(values, rows, cols).unwrap();
    let hessian = MatrixRef::new(hessian, cols, cols).unwrap();
    Deviation::of_outputs(matrix(&weight), matrix(&decoded), hessian).relative()
}

#[test]
fn a_rule_becomes_a_plan() {
    let plan = |rule: &str, rows, cols| configure(rule).unwrap().plan(rows, cols, FloatType::F16);
    let found = plan("bits = 3", 192, 576).unwrap();
    let kind = SchemeKind::Trellis {
        code: Code::find("mcg").unwrap(),
        state_bits: 16,
    };
    assert_eq!((found.scheme.kind, found.scheme.bits), (kind, 3));
    assert_eq!(found.needs, [Stat(&HESSIAN)]);
    assert_eq!(found.sequential, Sequential::Blocks);
    assert_eq!(
        found.notes,
        [
            "inputs rotated in 9 blocks of 64, as 128 does not divide 576",
            "outputs rotated in 3 blocks of 64, as 128 does not divide 192"
        ]
    );
    assert!(plan("bits = 3", 256, 1536).unwrap().notes.is_empty());
    // 3 bits a weight, a scale for each input and output, the marker of the code, the shape.
    let bits = 3 * 256 * 128 + 16 * (256 + 128) + 32 + 128;
    let planned = plan("bits = 3", 256, 128).unwrap();
    assert_eq!(
        planned.scheme.storage_bits(256, 128, FloatType::F16, 0),
        bits
    );
    let refused = plan("bits = 3", 172, 64).unwrap_err();
    assert_eq!(refused, QuantizeError::Tiles);
    assert!(refused.hint().unwrap().contains("keep"));
    assert_eq!(
        plan("bits = 3\nsequential = false", 16, 16)
            .unwrap()
            .sequential,
        Sequential::No
    );
    for rule in [
        "bits = 9",
        "bits = 2\ncode = \"2mad\"",
        "bits = 2\nstate_bits = 11",
        "state_bits = 12",
    ] {
        assert!(configure(rule).is_err(), "{rule}");
    }
}

#[test]
fn feedback_and_more_bits_lose_less() {
    let (rows, cols) = (64, 96);
    let (_, hessian) = layer(rows, cols);
    let mut diagonal = vec![0.0; cols * cols];
    for at in (0..cols * cols).step_by(cols + 1) {
        diagonal[at] = hessian[at];
    }
    let alone = lost(&quantize(FAST, rows, cols, &diagonal), &hessian);
    let with_feedback = quantize(FAST, rows, cols, &hessian);
    assert!(lost(&with_feedback, &hessian) < 0.9 * alone);
    assert!(with_feedback.notes[0].starts_with("error of the outputs"));
    for code in CODES {
        let rule = |bits| format!("bits = {bits}\nstate_bits = 12\ncode = \"{}\"", code.name);
        let errors = [1, 2, 3, 4].map(|bits| {
            let found = quantize(&rule(bits), rows, cols, &hessian);
            lost(&found, &hessian)
        });
        assert!(
            errors.is_sorted_by(|a, b| *b < 0.5 * a),
            "{} {errors:?}",
            code.name
        );
    }
}

#[test]
fn threads_change_no_bit() {
    let (rows, cols) = (160, 48);
    let (_, hessian) = layer(rows, cols);
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| quantize(FAST, rows, cols, &hessian))
    };
    assert_eq!(with(1), with(4));
}

#[test]
fn zeros_stay_zeros_and_impossible_values_are_refused() {
    let quantizer = configure(FAST).unwrap();
    let plan = quantizer.plan(16, 16, FloatType::F16).unwrap();
    let run = |weight: &[f32], hessian: &[f32]| {
        let weight = MatrixRef::new(weight, 16, 16).unwrap();
        let stats = LayerStats::new("layer", 1).with(&HESSIAN, hessian);
        quantizer.quantize(weight, &plan, &stats)
    };
    let hessian = layer(16, 16).1;
    let zeros = run(&[0.0; 256], &hessian).unwrap();
    assert!(
        zeros
            .tensor
            .dequantize()
            .iter()
            .all(|value| value.abs() < 1e-12)
    );
    // No input was ever seen: nothing makes up for anything.
    assert!(run(&wave(256, 29), &[0.0; 256]).is_ok());
    let mut broken = hessian.clone();
    broken[17] = -1.0;
    let error = run(&wave(256, 29), &broken).unwrap_err();
    assert!(matches!(
        error,
        QuantizeError::StatValue { row: 1, col: 1, .. }
    ));
    assert!(run(&[f32::NAN; 256], &hessian).is_err());
}
