//! What the alternation never does, and what it finds where the answer is known.

use super::*;
use crate::error_metrics::Deviation;
use crate::linalg::product::{Strided, multiply};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const ROWS: usize = 24;
const COLS: usize = 200;

fn configure(rule: &str) -> Box<dyn Quantizer> {
    Lnq.configure(&rule.parse().unwrap()).unwrap()
}

fn refused(rule: &str) -> String {
    let error = Lnq.configure(&rule.parse().unwrap()).err().unwrap();
    error.to_string()
}

/// Weights, and the Hessian of inputs of which each has its own share, and all have one together.
fn layer() -> (Vec<f32>, Vec<f32>) {
    layer_with(1, 1.0)
}

/// Weights, and the Hessian of inputs that are made of so many `shared` ones and `own` times one of their own.
fn layer_with(shared: usize, own: f32) -> (Vec<f32>, Vec<f32>) {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let mut draw = |count: usize| -> Vec<f32> {
        let sum = |_| (0..4).map(|_| rng.random_range(-0.5_f32..0.5)).sum();
        (0..count).map(sum).collect()
    };
    let weight = draw(ROWS * COLS);
    let tokens = 3 * COLS;
    let (common, directions) = (draw(tokens * shared), draw(shared * COLS));
    let mut inputs = draw(tokens * COLS);
    for (token, row) in inputs.chunks_mut(COLS).enumerate() {
        let common = &common[token * shared..][..shared];
        for (col, value) in row.iter_mut().enumerate() {
            let directions = directions.iter().skip(col).step_by(COLS);
            let together: f32 = common.iter().zip(directions).map(|(a, b)| a * b).sum();
            *value = (own * *value + together) * (1.0 + (col % 7) as f32);
        }
    }
    (weight, second_moment(&inputs))
}

fn second_moment(inputs: &[f32]) -> Vec<f32> {
    let mut hessian = vec![0.0; COLS * COLS];
    let inputs = Strided::row_major(inputs, COLS);
    multiply(inputs.transposed(), inputs, &mut hessian, COLS, false);
    hessian
}

fn matrix(values: &[f32], rows: usize) -> MatrixRef<'_> {
    MatrixRef::new(values, rows, COLS).unwrap()
}

fn quantize(rule: &str, weight: &[f32], stats: &LayerStats<'_>) -> Quantized {
    let quantizer = configure(rule);
    let rows = weight.len() / COLS;
    let plan = quantizer.plan(rows, COLS, FloatType::F32).unwrap();
    let found = quantizer
        .quantize(matrix(weight, rows), &plan, stats)
        .unwrap();
    found.tensor.check().unwrap();
    assert!(found.tensor.matches(&plan.scheme));
    found
}

fn lost(weight: &[f32], hessian: &[f32], tensor: &QuantizedTensor) -> f64 {
    let decoded = tensor.dequantize();
    let rows = weight.len() / COLS;
    let deviation = Deviation::of_outputs(
        matrix(weight, rows),
        matrix(&decoded, rows),
        matrix(hessian, COLS),
    );
    deviation.relative()
}

#[test]
fn no_step_raises_the_objective() {
    let (weight, hessian) = layer();
    for bits in [1, 2, 3, 4] {
        let mut codebook = fit_rows(matrix(&weight, ROWS), None, None, bits).unwrap();
        let alternation = Alternation {
            iterations: 5,
            cycles: 4,
            damping: 0.01,
        };
        let hessians = [matrix(&hessian, COLS)];
        let progress = alternation
            .fit(
                matrix(&weight, ROWS),
                (&hessians, "hessian"),
                None,
                &mut codebook,
            )
            .unwrap();
        assert!(progress.steps.len() > 5, "{:?}", progress.steps);
        for pair in progress.steps.windows(2) {
            assert!(pair[1] <= pair[0] * (1.0 + 1e-6), "{:?}", progress.steps);
        }
        assert!(codebook.tables.chunks(1 << bits).all(<[_]>::is_sorted));
    }
}

#[test]
fn no_row_loses_more_than_with_the_first_tables() {
    // Inputs that share almost nothing with each other, so that labels of the column loop are no better than nearest
    // ones in some rows and worse in others; and a few that share almost all.
    for (shared, own) in [(1, 1.0), (2, 3.0), (16, 0.1)] {
        let (weight, hessian) = layer_with(shared, own);
        let stats = LayerStats::default().with(&HESSIAN, &hessian);
        for bits in [1, 2, 4] {
            let rule = format!("bits = {bits}\nguided = 0\nstart = 'hessian'\ndamping = 0.01");
            let first = quantize(&format!("{rule}\niterations = 0"), &weight, &stats);
            let found = quantize(&rule, &weight, &stats);
            let (first, found) = (first.tensor.dequantize(), found.tensor.dequantize());
            let mut damped = hessian.clone();
            let mean = damped.iter().step_by(COLS + 1).sum::<f32>() / COLS as f32;
            damped
                .iter_mut()
                .step_by(COLS + 1)
                .for_each(|value| *value += 0.01 * mean);
            let loss = |decoded: &[f32], row: usize| {
                let row = row * COLS..(row + 1) * COLS;
                Deviation::of_outputs(
                    matrix(&weight[row.clone()], 1),
                    matrix(&decoded[row], 1),
                    matrix(&damped, COLS),
                )
                .relative()
            };
            for row in 0..ROWS {
                let (first, found) = (loss(&first, row), loss(&found, row));
                assert!(
                    found <= first * (1.0 + 1e-5),
                    "row {row}: {found} above {first}"
                );
            }
        }
    }
}

#[test]
fn a_hessian_that_needs_more_damping_or_has_no_factor_is_no_reason_to_stop() {
    let (weight, _) = layer();
    // Of one token: without damping there is no factor.
    let token: Vec<f32> = (0..COLS).map(|at| 1.0 + (at % 5) as f32).collect();
    let mut hessian: Vec<f32> = second_moment(&token);
    for (rule, indefinite) in [("damping = 0", false), ("damping = 0.001", true)] {
        if indefinite {
            // Nothing that inputs could have; it has no factor with any damping.
            hessian[1] += 1e4;
            hessian[COLS] += 1e4;
        }
        let stats = LayerStats::default().with(&HESSIAN, &hessian);
        let rule = format!("bits = 3\nguided = 0\nstart = 'hessian'\n{rule}");
        let first = quantize(&format!("{rule}\niterations = 0"), &weight, &stats);
        let found = quantize(&rule, &weight, &stats);
        if !indefinite {
            let lost = |found: &Quantized| lost(&weight, &hessian, &found.tensor);
            assert!(lost(&found) < 0.1 * lost(&first));
        }
    }
}

#[test]
fn a_diagonal_hessian_and_one_row_are_exact_weighted_kmeans() {
    let (weight, _) = layer();
    let row = &weight[..COLS];
    let diagonal: Vec<f32> = (0..COLS).map(|col| 0.25 + (col % 13) as f32).collect();
    let mut hessian = vec![0.0; COLS * COLS];
    for (col, value) in diagonal.iter().enumerate() {
        hessian[col * COLS + col] = *value;
    }
    for bits in [1, 3, 4] {
        let expected = fit_rows(matrix(row, 1), Some(matrix(&diagonal, 1)), None, bits).unwrap();
        let rule = format!("bits = {bits}\nguided = 0\nstart = 'hessian'\ndamping = 0");
        let stats = LayerStats::default().with(&HESSIAN, &hessian);
        let found = quantize(&rule, row, &stats);
        assert_eq!(found.tensor.encoding, Encoding::Codebook(expected));
        // From the k-means of other weights it gets no further.
        let other = vec![1.0; COLS];
        let stats = stats.with(&FISHER, &other);
        let rule = format!("bits = {bits}\nguided = 0\ndamping = 0");
        let from_other = quantize(&rule, row, &stats);
        let lost = |found: &Quantized| lost(row, &hessian, &found.tensor);
        assert!(lost(&from_other) >= lost(&found) * (1.0 - 1e-6));
    }
}

#[test]
fn it_loses_far_less_output_than_kmeans() {
    let (weight, hessian) = layer_with(16, 0.3);
    let stats = LayerStats::default().with(&HESSIAN, &hessian);
    let rule = "bits = 3\nguided = 0\nstart = 'hessian'";
    let start = quantize(&format!("{rule}\niterations = 0"), &weight, &stats);
    let found = quantize(rule, &weight, &stats);
    let (start, end) = (
        lost(&weight, &hessian, &start.tensor),
        lost(&weight, &hessian, &found.tensor),
    );
    assert!(end < 0.5 * start, "{end} of {start}");
    assert!(
        found.notes[0].starts_with("objective 0."),
        "{:?}",
        found.notes
    );
}

#[test]
fn each_group_of_rows_has_its_own_hessian() {
    let (weight, hessian) = layer();
    let other: Vec<f32> = {
        let mut turned = vec![0.0; COLS * COLS];
        for row in 0..COLS {
            for col in 0..COLS {
                turned[row * COLS + col] = hessian[(COLS - 1 - row) * COLS + COLS - 1 - col];
            }
        }
        turned
    };
    let both = [hessian.clone(), other.clone()].concat();
    let stats = LayerStats::default().with(guided_hessian(2).unwrap(), &both);
    let found = quantize("bits = 2\nguided = 2\nstart = 'hessian'", &weight, &stats);
    let half = ROWS / 2 * COLS;
    for (weight, hessian, from) in [
        (&weight[..half], &hessian, 0),
        (&weight[half..], &other, half),
    ] {
        let stats = LayerStats::default().with(guided_hessian(1).unwrap(), hessian);
        let alone = quantize("bits = 2\nstart = 'hessian'", weight, &stats);
        let decoded = found.tensor.dequantize();
        assert_eq!(alone.tensor.dequantize(), decoded[from..from + half]);
    }
}

#[test]
fn weights_kept_apart_have_no_error_and_help_the_others() {
    let (mut weight, hessian) = layer();
    for at in (7..weight.len()).step_by(61) {
        weight[at] *= 8.0;
    }
    let fisher: Vec<f32> = weight.iter().map(|w| w * w).collect();
    let stats = LayerStats::default()
        .with(&HESSIAN, &hessian)
        .with(&FISHER, &fisher);
    let rule = "bits = 2\nguided = 0";
    let dense = quantize(rule, &weight, &stats);
    let sparse = quantize(
        &format!("{rule}\nsensitive_fraction = 0.02"),
        &weight,
        &stats,
    );
    let csr = sparse.tensor.outliers.as_ref().unwrap();
    assert_eq!(csr.values.len(), ROWS * COLS / 50);
    let decoded = sparse.tensor.dequantize();
    for row in 0..ROWS {
        for at in csr.row_pointers[row] as usize..csr.row_pointers[row + 1] as usize {
            let at = row * COLS + csr.columns[at] as usize;
            assert!((decoded[at] - weight[at]).abs() <= 1e-3 * weight[at].abs());
        }
    }
    assert!(lost(&weight, &hessian, &sparse.tensor) < 0.7 * lost(&weight, &hessian, &dense.tensor));
}

#[test]
fn inputs_never_used_are_rounded_to_nearest() {
    let (weight, mut hessian) = layer();
    for at in 0..COLS {
        hessian[5 * COLS + at] = 0.0;
        hessian[at * COLS + 5] = 0.0;
    }
    let stats = LayerStats::default().with(&HESSIAN, &hessian);
    let found = quantize("bits = 3\nguided = 0\nstart = 'hessian'", &weight, &stats);
    assert!(
        found.notes[1].starts_with("1 of 200 inputs"),
        "{:?}",
        found.notes
    );
    let Encoding::Codebook(codebook) = &found.tensor.encoding else {
        panic!("a codebook")
    };
    for row in 0..ROWS {
        let mut nearest = [0];
        let weight = [weight[row * COLS + 5]];
        let table = &codebook.tables[row * 8..(row + 1) * 8];
        crate::codebook::assign(&weight, table, &mut nearest);
        assert_eq!(codebook.indices[row * COLS + 5], nearest[0]);
    }
}

#[test]
fn threads_do_not_change_the_result() {
    let (weight, hessian) = layer();
    let weight = weight.repeat(6);
    let stats = LayerStats::default().with(&HESSIAN, &hessian);
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| quantize("bits = 3\nguided = 0\nstart = 'hessian'", &weight, &stats))
    };
    assert_eq!(on(1), on(4));
}

#[test]
fn rules_become_needs_and_contradictions_are_refused() {
    let plan = |rule: &str| configure(rule).plan(8, 16, FloatType::F16).unwrap();
    let guided = |groups| Stat(guided_hessian(groups).unwrap());
    assert_eq!(
        plan("bits = 3\nguided = 4").needs,
        [guided(4), Stat(&FISHER)]
    );
    assert_eq!(
        plan("bits = 3\nguided = 2\nstart = 'hessian'").needs,
        [guided(2)]
    );
    let plain = plan("bits = 3\nguided = 0\nsequential = true\nstart = 'hessian'");
    assert_eq!(plain.needs, [Stat(&HESSIAN)]);
    assert_eq!(plain.sequential, Sequential::Blocks);
    assert!(plan("bits = 3\nsensitive_fraction = 0.01").scheme.outliers);
    assert!(refused("bits = 3\nguided = 3").contains("expected 0, 1, 2, 4 or 8, found `3`"));
    assert!(refused("bits = 3\nsequential = true").contains("beside `guided`"));
    assert!(refused("guided = 1").contains("`bits`"));
    let missing = configure("bits = 3").quantize(
        matrix(&[0.0; COLS], 1),
        &plan("bits = 3"),
        &LayerStats::default(),
    );
    assert_eq!(
        missing.unwrap_err(),
        QuantizeError::MissingStat("guided_hessian_1")
    );
}
