//! GPTQ against what it has to be: round to nearest without correlations, the textbook recurrence
//! with them, better than round to nearest by its own measure, and the same bytes on any number of
//! threads.
#![expect(clippy::unwrap_used, reason = "tests")]
#![expect(clippy::cast_possible_truncation, reason = "f64 weights back to f32")]

use quantizers::error_metrics::Deviation;
use quantizers::grid::Grid;
use quantizers::methods::gptq::{Compensated, Compensation};
use quantizers::{
    Encoding, FloatType, Granularity, MatrixRef, QuantizeError, QuantizedTensor, Uniform,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const PLAIN: Compensation = Compensation {
    damping: 0.01,
    act_order: false,
    static_groups: false,
    block_size: 32,
};

/// Weights `[rows, cols]` and the Hessian of correlated inputs of very different sizes.
fn layer(rows: usize, cols: usize) -> (Vec<f32>, Vec<f32>) {
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let mut normal = move || (0..12).map(|_| random.random::<f32>()).sum::<f32>() - 6.0;
    let weights = (0..rows * cols).map(|_| 0.02 * normal()).collect();
    let hidden = cols / 4 + 1;
    let mix: Vec<f32> = (0..hidden * cols).map(|_| normal()).collect();
    let scale: Vec<f32> = (0..cols).map(|_| normal().exp()).collect();
    let mut hessian = vec![0.0; cols * cols];
    for _ in 0..2 * cols {
        let source: Vec<f32> = (0..hidden).map(|_| normal()).collect();
        let inputs: Vec<f32> = (0..cols)
            .map(|col| {
                let mixed: f32 = (0..hidden).map(|k| source[k] * mix[k * cols + col]).sum();
                scale[col] * (mixed + 0.5 * normal())
            })
            .collect();
        for row in 0..cols {
            for col in 0..cols {
                hessian[row * cols + col] += inputs[row] * inputs[col];
            }
        }
    }
    (weights, hessian)
}

fn grid(bits: u8, symmetric: bool) -> Grid {
    Grid {
        bits,
        symmetric,
        scale_type: FloatType::F16,
        arithmetic: FloatType::F32,
    }
}

fn every_setting() -> impl Iterator<Item = (Grid, Granularity, Compensation)> {
    let grids = [grid(4, true), grid(3, false), grid(8, true)];
    let granularities = [
        Granularity::Tensor,
        Granularity::Channel,
        Granularity::Group(16),
        Granularity::Group(48),
        // A last group of 8 in rows of 136.
        Granularity::Group(64),
    ];
    let orders = [(false, false), (false, true), (true, false), (true, true)];
    grids.into_iter().flat_map(move |grid| {
        granularities.into_iter().flat_map(move |granularity| {
            orders.into_iter().map(move |(act_order, static_groups)| {
                let compensation = Compensation {
                    act_order,
                    static_groups,
                    ..PLAIN
                };
                (grid, granularity, compensation)
            })
        })
    })
}

fn decoded(uniform: &Uniform, rows: usize, cols: usize) -> Vec<f32> {
    let tensor = QuantizedTensor {
        rows,
        cols,
        encoding: Encoding::Uniform(uniform.clone()),
        outliers: None,
    };
    tensor.check().unwrap();
    tensor.dequantize()
}

/// `tr(D H D^T) / tr(W H W^T)`.
fn lost(weight: MatrixRef<'_>, uniform: &Uniform, hessian: MatrixRef<'_>) -> f64 {
    let values = decoded(uniform, weight.rows(), weight.cols());
    let values = MatrixRef::new(&values, weight.rows(), weight.cols()).unwrap();
    Deviation::of_outputs(weight, values, hessian).relative()
}

#[test]
fn without_correlations_it_is_round_to_nearest() {
    let (rows, cols) = (150, 136);
    let (weights, _) = layer(rows, cols);
    let weight = MatrixRef::new(&weights, rows, cols).unwrap();
    let mut identity = vec![0.0; cols * cols];
    for col in 0..cols {
        identity[col * cols + col] = 1.0;
    }
    let hessian = MatrixRef::new(&identity, cols, cols).unwrap();
    for (grid, granularity, compensation) in every_setting() {
        let found = compensation
            .quantize(grid, granularity, weight, hessian)
            .unwrap();
        let nearest = grid.quantize(weight, granularity);
        assert_eq!(
            found.uniform.codes, nearest.codes,
            "{granularity:?} {compensation:?}"
        );
        assert_eq!(found.uniform.scales, nearest.scales);
        assert_eq!(found.uniform.zero_points, nearest.zero_points);
    }
}

#[test]
fn it_loses_less_of_the_output_than_round_to_nearest() {
    let (rows, cols) = (150, 136);
    let (weights, hessian) = layer(rows, cols);
    let weight = MatrixRef::new(&weights, rows, cols).unwrap();
    let hessian = MatrixRef::new(&hessian, cols, cols).unwrap();
    for (grid, granularity, compensation) in every_setting() {
        let found = compensation
            .quantize(grid, granularity, weight, hessian)
            .unwrap();
        let nearest = lost(weight, &grid.quantize(weight, granularity), hessian);
        let lost = lost(weight, &found.uniform, hessian);
        assert!(
            lost < 0.7 * nearest,
            "{lost} of {nearest}: {granularity:?} {compensation:?}"
        );
    }
}

#[test]
fn one_thread_and_four_give_the_same_bytes() {
    let (rows, cols) = (300, 200);
    let (weights, hessian) = layer(rows, cols);
    let weight = MatrixRef::new(&weights, rows, cols).unwrap();
    let hessian = MatrixRef::new(&hessian, cols, cols).unwrap();
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        let work = || PLAIN.quantize(grid(4, false), Granularity::Group(64), weight, hessian);
        pool.build().unwrap().install(work).unwrap()
    };
    assert_eq!(with(1), with(4));
}

/// The recurrence as published, in f64, one column after the other: after each the inverse of the
/// Hessian of those left is made by one elimination step.
fn textbook(
    weight: MatrixRef<'_>,
    hessian: &[f32],
    grid: Grid,
    group: usize,
    damping: f64,
) -> Vec<i8> {
    let (rows, cols) = (weight.rows(), weight.cols());
    let mean = (0..cols)
        .map(|at| f64::from(hessian[at * cols + at]))
        .sum::<f64>()
        / cols as f64;
    let mut damped: Vec<f64> = hessian.iter().map(|value| f64::from(*value)).collect();
    for at in 0..cols {
        damped[at * cols + at] += damping * mean;
    }
    let mut inverse = inverted(damped, cols);
    let mut left: Vec<f64> = weight
        .data()
        .iter()
        .map(|value| f64::from(*value))
        .collect();
    let mut codes = vec![0; rows * cols];
    let mut points = Vec::new();
    for col in 0..cols {
        if col % group == 0 {
            points = (0..rows)
                .map(|row| {
                    let values: Vec<f32> = (col..(col + group).min(cols))
                        .map(|at| left[row * cols + at] as f32)
                        .collect();
                    grid.fit_values(&values)
                })
                .collect();
        }
        let pivot = inverse[col * cols + col];
        for row in 0..rows {
            let value = left[row * cols + col];
            let code = grid.code(value as f32, points[row]);
            codes[row * cols + col] = code;
            let error = (value - f64::from(points[row].value(code))) / pivot;
            for at in col..cols {
                left[row * cols + at] -= error * inverse[col * cols + at];
            }
        }
        for row in col + 1..cols {
            let factor = inverse[row * cols + col] / pivot;
            for at in col..cols {
                inverse[row * cols + at] -= factor * inverse[col * cols + at];
            }
        }
    }
    codes
}

fn inverted(mut matrix: Vec<f64>, size: usize) -> Vec<f64> {
    let mut inverse = vec![0.0; size * size];
    for at in 0..size {
        inverse[at * size + at] = 1.0;
    }
    for pivot in 0..size {
        let divisor = matrix[pivot * size + pivot];
        for at in 0..size {
            matrix[pivot * size + at] /= divisor;
            inverse[pivot * size + at] /= divisor;
        }
        for row in (0..size).filter(|row| *row != pivot) {
            let factor = matrix[row * size + pivot];
            for at in 0..size {
                matrix[row * size + at] -= factor * matrix[pivot * size + at];
                inverse[row * size + at] -= factor * inverse[pivot * size + at];
            }
        }
    }
    inverse
}

#[test]
fn it_agrees_with_the_published_recurrence() {
    let (rows, cols) = (70, 136);
    let (weights, hessian) = layer(rows, cols);
    let weight = MatrixRef::new(&weights, rows, cols).unwrap();
    let moments = MatrixRef::new(&hessian, cols, cols).unwrap();
    // Groups within a block, over several blocks, and one per row.
    for group in [16, 64, 136] {
        let expected = textbook(weight, &hessian, grid(4, true), group, PLAIN.damping);
        let Compensated { uniform, .. } = PLAIN
            .quantize(grid(4, true), Granularity::Group(group), weight, moments)
            .unwrap();
        let differing = uniform
            .codes
            .iter()
            .zip(&expected)
            .filter(|(a, b)| a != b)
            .count();
        // f32 turns a few ties the other way, and each moves the rest of its row.
        assert!(
            differing * 200 < rows * cols,
            "{differing} of {}",
            rows * cols
        );
    }
}

#[test]
fn the_block_size_is_a_matter_of_speed() {
    let (rows, cols) = (64, 136);
    let (weights, hessian) = layer(rows, cols);
    let weight = MatrixRef::new(&weights, rows, cols).unwrap();
    let moments = MatrixRef::new(&hessian, cols, cols).unwrap();
    let of = |block_size| {
        let compensation = Compensation {
            block_size,
            ..PLAIN
        };
        let found = compensation.quantize(grid(4, true), Granularity::Group(64), weight, moments);
        lost(weight, &found.unwrap().uniform, moments)
    };
    let whole = of(1000);
    for block_size in [1, 7, 64] {
        assert!((of(block_size) / whole - 1.0).abs() < 0.02, "{block_size}");
    }
}

#[test]
fn what_cannot_be_rounded_is_refused() {
    let hessian = MatrixRef::new(&[1.0, 0.0, 0.0, 1.0], 2, 2).unwrap();
    let weight = MatrixRef::new(&[1.0, f32::NAN], 1, 2).unwrap();
    assert!(matches!(
        PLAIN.quantize(grid(4, true), Granularity::Channel, weight, hessian),
        Err(QuantizeError::NotFinite { col: 1, .. })
    ));
    let empty = MatrixRef::new(&[], 0, 2).unwrap();
    let found = PLAIN.quantize(grid(4, true), Granularity::Channel, empty, hessian);
    assert!(found.unwrap().uniform.codes.is_empty());
}
