use super::*;
use crate::FloatType;
use proptest::prelude::*;

const SCHEDULE: Schedule = Schedule {
    steps: 200,
    rate: 1.0 / 200.0,
    tunes_ranges: true,
};

fn grid(bits: u8, symmetric: bool) -> Grid {
    Grid {
        bits,
        symmetric,
        scale_type: FloatType::F16,
        arithmetic: FloatType::F32,
    }
}

/// Values in -1..1 that look like noise.
fn noise(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f32::from(u16::try_from(state >> 16).unwrap()) / 32_768.0 - 1.0
    };
    (0..count).map(next).collect()
}

/// `X^T X` of tokens that are far from independent.
fn hessian(cols: usize) -> Vec<f32> {
    let basis = noise(4 * cols, 7);
    let mut hessian = vec![0.0; cols * cols];
    for token in 0..64u32 {
        let mix = noise(4, token + 1);
        let own = noise(cols, token + 99);
        let input: Vec<f32> = (0..cols)
            .map(|at| (0..4).map(|k| mix[k] * basis[k * cols + at]).sum::<f32>() + 0.2 * own[at])
            .collect();
        for i in 0..cols {
            for j in 0..cols {
                hessian[i * cols + j] += input[i] * input[j];
            }
        }
    }
    hessian
}

/// `tr(D H D^T)` and its derivative, up to a factor of 2.
fn error(weight: &[f32], values: &[f32], hessian: &[f32], cols: usize) -> (f32, Vec<f32>) {
    let rows = weight.chunks(cols).zip(values.chunks(cols));
    let gradient: Vec<f32> = rows
        .flat_map(|(weight, values)| {
            let product = move |row: &[f32]| {
                let parts = row.iter().zip(weight).zip(values);
                parts.map(|((h, w), v)| h * (v - w)).sum::<f32>()
            };
            hessian.chunks(cols).map(product).collect::<Vec<_>>()
        })
        .collect();
    let parts = weight.iter().zip(values).zip(&gradient);
    (parts.map(|((w, v), g)| (v - w) * g).sum(), gradient)
}

fn tuned(bits: u8, symmetric: bool, schedule: Schedule) -> (f32, f32) {
    let (rows, cols) = (8, 64);
    let (data, hessian) = (noise(rows * cols, 3), hessian(cols));
    let weight = MatrixRef::new(&data, rows, cols).unwrap();
    let mut layer = Rounding::new(
        grid(bits, symmetric),
        Granularity::Group(32),
        weight,
        schedule,
    );
    let (first, _) = error(&data, layer.weights(), &hessian, cols);
    let mut best = f32::INFINITY;
    for _ in 0..schedule.steps {
        let (now, gradient) = error(&data, layer.weights(), &hessian, cols);
        if now < best {
            best = now;
            layer.keep();
        }
        layer.step(&gradient);
    }
    let stored = Box::new(layer).finish().unwrap().tensor.dequantize();
    let (last, _) = error(&data, &stored, &hessian, cols);
    assert!(
        (last - best).abs() <= 1e-4 * best,
        "what was kept is stored"
    );
    (first, best)
}

#[test]
fn tuning_takes_most_of_the_error_of_correlated_inputs() {
    for (bits, symmetric) in [(4, true), (4, false), (2, true), (2, false)] {
        let (first, best) = tuned(bits, symmetric, SCHEDULE);
        assert!(
            best < 0.35 * first,
            "{bits} bits, {symmetric}: {first} to {best}"
        );
    }
}

#[test]
fn learned_ranges_help_where_bits_are_few() {
    let fixed = Schedule {
        tunes_ranges: false,
        ..SCHEDULE
    };
    for symmetric in [true, false] {
        let (_, with) = tuned(2, symmetric, SCHEDULE);
        let (_, without) = tuned(2, symmetric, fixed);
        assert!(with < without, "{symmetric}: {with} against {without}");
    }
}

#[test]
fn ranges_move_as_the_error_of_clipped_weights_says() {
    // The derivative by each end against differences, for weights all beyond an end: rounding plays no part.
    let weights = [-1.0_f32, 2.0, 2.0, -1.0];
    let target = [-0.3_f32, 1.1, 0.9, -0.5];
    let grid = Grid {
        scale_type: FloatType::F32,
        ..grid(2, false)
    };
    let ends = |low_share: f32, high_share: f32| Range {
        lowest: -1.0,
        highest: 2.0,
        low_share,
        high_share,
    };
    // Two steps below zero and one above keep zero where a code is.
    let (low, high) = (0.6_f32, 0.15_f32);
    let values = |range: &Range| {
        let (low, high) = (
            range.lowest * range.low_share,
            range.highest * range.high_share,
        );
        weights.map(|weight| if weight < 0.0 { low } else { high })
    };
    let error = |range: &Range| -> f32 {
        let values = values(range);
        values
            .iter()
            .zip(&target)
            .map(|(v, t)| (v - t).powi(2))
            .sum()
    };
    let range = ends(low, high);
    let point = grid.fit(-0.6, 0.3);
    let gradient: Vec<f32> = values(&range)
        .iter()
        .zip(&target)
        .map(|(value, target)| 2.0 * (value - target))
        .collect();
    let mut codes = [-2, 1, 1, -2];
    let mut group = Group {
        grid,
        weights: &weights,
        offsets: &mut [0.0; 4],
        codes: &mut codes,
        point: &mut point.clone(),
    };
    let slope = group.moved(&gradient, 0.1);
    let mut moved = range;
    slope.moved(grid, point.scale, &mut moved, 0.1);
    let step = 1e-3;
    let by_low = error(&ends(low + step, high)) - error(&ends(low - step, high));
    let by_high = error(&ends(low, high + step)) - error(&ends(low, high - step));
    assert_eq!(moved.low_share < low, by_low > 0.0);
    assert_eq!(moved.high_share < high, by_high > 0.0);
}

proptest! {
    #[test]
    fn offsets_move_a_code_by_one_at_most(
        weights in proptest::collection::vec(-4.0f32..4.0, 32),
        gradients in proptest::collection::vec(proptest::collection::vec(-1.0f32..1.0, 32), 8),
        bits in 2u8..=8,
        symmetric: bool,
    ) {
        let schedule = Schedule { steps: 8, rate: 0.5, tunes_ranges: false };
        let grid = grid(bits, symmetric);
        let weight = MatrixRef::new(&weights, 2, 16).unwrap();
        let nearest = grid.quantize(weight, Granularity::Channel);
        let mut layer = Rounding::new(grid, Granularity::Channel, weight, schedule);
        prop_assert_eq!(&layer.codes, &nearest.codes);
        for gradient in &gradients {
            layer.step(gradient);
        }
        for (code, nearest) in layer.codes.iter().zip(&nearest.codes) {
            prop_assert!((i16::from(*code) - i16::from(*nearest)).abs() <= 1);
        }
        let values = layer.weights().to_vec();
        let stored = Box::new(layer).finish().unwrap().tensor;
        prop_assert_eq!(stored.dequantize(), values);
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let (rows, cols) = (40, 96);
    let data = noise(rows * cols, 5);
    let gradient = noise(rows * cols, 6);
    let weight = MatrixRef::new(&data, rows, cols).unwrap();
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.unwrap().install(|| {
            let mut layer = Rounding::new(grid(3, false), Granularity::Group(32), weight, SCHEDULE);
            for _ in 0..20 {
                layer.step(&gradient);
            }
            layer.weights().to_vec()
        })
    };
    assert_eq!(with(1), with(3));
}
