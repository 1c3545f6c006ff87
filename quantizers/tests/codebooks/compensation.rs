//! Error compensation over tables and local scales: the plain fit without correlations, less loss with them, never
//! more with another pass, and the same bytes on any number of threads.

use quantizers::codebook::scaled::{Importance, ScaledLayout, TableChoice, fit_scaled};
use quantizers::error_metrics::Deviation;
use quantizers::methods::gptq::{CompensatedCodebook, Compensation};
use quantizers::{Codebook, Encoding, Granularity, MatrixRef, QuantizedTensor};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const ROWS: usize = 150;
const COLS: usize = 136;
const PLAIN: Compensation = Compensation {
    damping: 0.01,
    act_order: false,
    static_groups: false,
    block_size: 32,
};

/// Weights `[ROWS, COLS]` and the Hessian of correlated inputs of very different sizes.
fn layer() -> (Vec<f32>, Vec<f32>) {
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let mut normal = move || (0..12).map(|_| random.random::<f32>()).sum::<f32>() - 6.0;
    let weights = (0..ROWS * COLS).map(|_| 0.02 * normal()).collect();
    let hidden = COLS / 4 + 1;
    let mix: Vec<f32> = (0..hidden * COLS).map(|_| normal()).collect();
    let scale: Vec<f32> = (0..COLS).map(|_| normal().exp()).collect();
    let mut hessian = vec![0.0; COLS * COLS];
    for _ in 0..2 * COLS {
        let source: Vec<f32> = (0..hidden).map(|_| normal()).collect();
        let inputs: Vec<f32> = (0..COLS)
            .map(|col| {
                let mixed: f32 = (0..hidden).map(|k| source[k] * mix[k * COLS + col]).sum();
                scale[col] * (mixed + 0.5 * normal())
            })
            .collect();
        for row in 0..COLS {
            for col in 0..COLS {
                hessian[row * COLS + col] += inputs[row] * inputs[col];
            }
        }
    }
    (weights, hessian)
}

fn layouts() -> Vec<ScaledLayout> {
    let layout = |bits, tables, granularity, scale_bits| ScaledLayout {
        bits,
        tables,
        granularity,
        scale_bits,
        table: TableChoice::Learned,
    };
    vec![
        layout(4, 1, Granularity::Group(32), 16),
        layout(3, 1, Granularity::Group(16), 8),
        layout(2, 1, Granularity::Group(64), 6),
        layout(3, 1, Granularity::Channel, 16),
        layout(2, 50, Granularity::Group(32), 16),
        layout(3, 150, Granularity::Group(68), 8),
    ]
}

fn tensor(codebook: &Codebook, found: Option<&CompensatedCodebook>) -> QuantizedTensor {
    let tensor = QuantizedTensor {
        rows: ROWS,
        cols: COLS,
        encoding: Encoding::Codebook(codebook.clone()),
        outliers: found.and_then(|found| found.outliers.clone()),
    };
    tensor.check().unwrap();
    tensor
}

/// `tr(D H D^T) / tr(W H W^T)` with the damping that the rounding knows.
fn lost(weights: &[f32], tensor: &QuantizedTensor, hessian: &[f32], damping: f64) -> f64 {
    let mean = (0..COLS)
        .map(|at| f64::from(hessian[at * COLS + at]))
        .sum::<f64>()
        / COLS as f64;
    let mut damped = hessian.to_vec();
    for value in damped.iter_mut().step_by(COLS + 1) {
        #[expect(clippy::cast_possible_truncation, reason = "as the Hessian is stored")]
        let damp = (damping * mean) as f32;
        *value += damp;
    }
    let matrix = |data| MatrixRef::new(data, ROWS, COLS).unwrap();
    let hessian = MatrixRef::new(&damped, COLS, COLS).unwrap();
    let decoded = tensor.dequantize();
    Deviation::of_outputs(matrix(weights), matrix(&decoded), hessian).relative()
}

fn fit(weights: &[f32], layout: ScaledLayout, removed: Option<&[bool]>) -> Codebook {
    let weight = MatrixRef::new(weights, ROWS, COLS).unwrap();
    let fitted = fit_scaled(weight, Importance::Equal, removed, layout);
    fitted.unwrap().codebook
}

#[test]
fn without_correlations_it_is_the_plain_fit() {
    let (weights, _) = layer();
    let weight = MatrixRef::new(&weights, ROWS, COLS).unwrap();
    let mut identity = vec![0.0; COLS * COLS];
    identity
        .iter_mut()
        .step_by(COLS + 1)
        .for_each(|value| *value = 1.0);
    let hessian = MatrixRef::new(&identity, COLS, COLS).unwrap();
    for layout in layouts() {
        let fitted = fit(&weights, layout, None);
        for act_order in [false, true] {
            let compensation = Compensation { act_order, ..PLAIN };
            let found = compensation
                .quantize_codebook(&fitted, weight, &[hessian], None, 0)
                .unwrap();
            assert_eq!(found.codebook, fitted, "{layout:?}");
            // Another pass finds next to nothing to move.
            let plain = lost(&weights, &tensor(&fitted, None), &identity, 0.0);
            let found = compensation.quantize_codebook(&fitted, weight, &[hessian], None, 2);
            let again = lost(
                &weights,
                &tensor(&found.unwrap().codebook, None),
                &identity,
                0.0,
            );
            assert!(again <= plain * (1.0 + 1e-6), "{layout:?}: {again} {plain}");
            assert!(again > 0.97 * plain, "{layout:?}: {again} {plain}");
        }
    }
}

#[test]
fn compensation_loses_less_and_no_pass_raises_the_loss() {
    let (weights, hessian) = layer();
    let weight = MatrixRef::new(&weights, ROWS, COLS).unwrap();
    let matrix = MatrixRef::new(&hessian, COLS, COLS).unwrap();
    for layout in layouts() {
        let fitted = fit(&weights, layout, None);
        let plain = lost(&weights, &tensor(&fitted, None), &hessian, 0.01);
        let compensation = Compensation {
            act_order: true,
            ..PLAIN
        };
        let losses: Vec<f64> = (0..5)
            .map(|passes| {
                let found = compensation
                    .quantize_codebook(&fitted, weight, &[matrix], None, passes)
                    .unwrap();
                lost(&weights, &tensor(&found.codebook, None), &hessian, 0.01)
            })
            .collect();
        assert!(losses[0] < 0.7 * plain, "{layout:?}: {losses:?} {plain}");
        for pair in losses.windows(2) {
            assert!(pair[1] <= pair[0] * (1.0 + 1e-5), "{layout:?}: {losses:?}");
        }
        assert!(losses[4] < 0.99 * losses[0], "{layout:?}: {losses:?}");
    }
}

#[test]
fn sparse_values_take_the_error_of_their_weights() {
    let (mut weights, hessian) = layer();
    let mut removed = vec![false; ROWS * COLS];
    for at in (3..ROWS * COLS).step_by(61) {
        weights[at] *= 30.0;
        removed[at] = true;
    }
    let weight = MatrixRef::new(&weights, ROWS, COLS).unwrap();
    let matrix = MatrixRef::new(&hessian, COLS, COLS).unwrap();
    for layout in layouts() {
        let fitted = fit(&weights, layout, Some(&removed));
        for passes in [0, 2] {
            let compensation = Compensation {
                act_order: true,
                ..PLAIN
            };
            let found = compensation
                .quantize_codebook(&fitted, weight, &[matrix], Some(&removed), passes)
                .unwrap();
            let sparse = found.outliers.as_ref().unwrap();
            let marked = removed.iter().filter(|mark| **mark).count();
            assert_eq!(sparse.values.len(), marked);
            let with = lost(
                &weights,
                &tensor(&found.codebook, Some(&found)),
                &hessian,
                0.01,
            );
            let dense = fit(&weights, layout, None);
            let without = compensation
                .quantize_codebook(&dense, weight, &[matrix], None, passes)
                .unwrap();
            let without = lost(&weights, &tensor(&without.codebook, None), &hessian, 0.01);
            assert!(
                with < 0.5 * without,
                "{layout:?} {passes}: {with} {without}"
            );
        }
    }
}

#[test]
fn rows_of_a_group_know_only_its_hessian() {
    let (weights, hessian) = layer();
    let weight = MatrixRef::new(&weights, ROWS, COLS).unwrap();
    let doubled: Vec<f32> = hessian.iter().map(|value| 2.0 * value).collect();
    let matrix = |data| MatrixRef::new(data, COLS, COLS).unwrap();
    let mut other = vec![0.0; COLS * COLS];
    other
        .iter_mut()
        .step_by(COLS + 1)
        .for_each(|value| *value = 1.0);
    let removed: Vec<bool> = (0..ROWS * COLS).map(|at| at % 89 == 0).collect();
    for layout in layouts() {
        let fitted = fit(&weights, layout, Some(&removed));
        let found = |hessians: &[MatrixRef<'_>], passes| {
            PLAIN
                .quantize_codebook(&fitted, weight, hessians, Some(&removed), passes)
                .unwrap()
        };
        let one = found(&[matrix(&hessian)], 0);
        // A factor changes nothing, up to how it rounds: here it is a power of two.
        assert_eq!(one, found(&[matrix(&hessian), matrix(&doubled)], 0));
        let mixed = found(&[matrix(&hessian), matrix(&other), matrix(&doubled)], 0);
        let indices = |found: &CompensatedCodebook, rows: std::ops::Range<usize>| {
            found.codebook.indices[rows.start * COLS..rows.end * COLS].to_vec()
        };
        for rows in [0..50, 100..150] {
            assert_eq!(indices(&one, rows.clone()), indices(&mixed, rows));
        }
        assert_ne!(indices(&one, 50..100), indices(&mixed, 50..100));
        // Passes share tables and scales of all rows.
        found(&[matrix(&hessian), matrix(&other)], 2);
    }
}

#[test]
fn threads_do_not_change_the_result() {
    let (weights, hessian) = layer();
    let weight = MatrixRef::new(&weights, ROWS, COLS).unwrap();
    let matrix = MatrixRef::new(&hessian, COLS, COLS).unwrap();
    let removed: Vec<bool> = (0..ROWS * COLS).map(|at| at % 97 == 0).collect();
    for layout in layouts() {
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            pool.build().unwrap().install(|| {
                let fitted = fit(&weights, layout, Some(&removed));
                PLAIN
                    .quantize_codebook(&fitted, weight, &[matrix], Some(&removed), 2)
                    .unwrap()
            })
        };
        assert_eq!(on(1), on(3), "{layout:?}");
    }
}
