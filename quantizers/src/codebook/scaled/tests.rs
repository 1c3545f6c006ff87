//! The joint fit: what it promises whatever the weights.

use super::*;
use crate::tensor::{Codebook, Encoding, Granularity, QuantizedTensor};
use crate::{MatrixRef, QuantizeError};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const LAYOUT: ScaledLayout = ScaledLayout {
    bits: 3,
    tables: 1,
    granularity: Granularity::Group(16),
    scale_bits: 16,
    table: TableChoice::Learned,
};

/// Heavy-tailed weights `[rows, cols]` of groups of different size, and a Fisher.
fn layer(rows: usize, cols: usize) -> (Vec<f32>, Vec<f32>) {
    let mut random = ChaCha8Rng::seed_from_u64(11);
    let mut normal = move || (0..12).map(|_| random.random::<f32>()).sum::<f32>() - 6.0;
    let mut weights = Vec::new();
    for _ in 0..rows * cols.div_ceil(8) {
        let size = 0.03 * (0.4 * normal()).exp();
        weights.extend((0..8).map(|_| size * normal()));
    }
    weights.truncate(rows * cols);
    let fisher = (0..rows * cols).map(|_| (2.0 * normal()).exp()).collect();
    (weights, fisher)
}

fn every_layout() -> impl Iterator<Item = ScaledLayout> {
    let granularities = [
        Granularity::Channel,
        Granularity::Group(16),
        // A last group of 8 in rows of 72.
        Granularity::Group(32),
    ];
    let forms = [
        (4, 1, 16, TableChoice::Learned),
        (3, 1, 8, TableChoice::Learned),
        (2, 2, 6, TableChoice::Learned),
        (3, 48, 16, TableChoice::Learned),
        (1, 1, 6, TableChoice::Learned),
        (4, 1, 8, TableChoice::Iq4Nl),
        (4, 1, 16, TableChoice::Nf4),
    ];
    granularities.into_iter().flat_map(move |granularity| {
        forms
            .into_iter()
            .map(move |(bits, tables, scale_bits, table)| ScaledLayout {
                bits,
                tables,
                granularity,
                scale_bits,
                table,
            })
    })
}

fn decoded(codebook: &Codebook, rows: usize, cols: usize) -> Vec<f32> {
    let tensor = QuantizedTensor {
        rows,
        cols,
        encoding: Encoding::Codebook(codebook.clone()),
        outliers: None,
    };
    tensor.check().unwrap();
    tensor.dequantize()
}

fn squared_error(weights: &[f32], decoded: &[f32], importance: &[f32]) -> f64 {
    let pairs = weights.iter().zip(decoded).zip(importance);
    pairs
        .map(|((a, b), f)| f64::from(*f) * f64::from(a - b).powi(2))
        .sum()
}

#[test]
fn no_round_raises_the_error_and_the_result_is_what_the_last_round_says() {
    let (rows, cols) = (48, 72);
    let (weights, fisher) = layer(rows, cols);
    let weight = MatrixRef::new(&weights, rows, cols).unwrap();
    let importance = Importance::PerWeight(MatrixRef::new(&fisher, rows, cols).unwrap());
    let mean = fisher.iter().copied().map(f64::from).sum::<f64>() / fisher.len() as f64;
    for layout in every_layout() {
        let fit = fit_scaled(weight, importance, None, layout).unwrap();
        for history in &fit.history {
            assert!(history.len() > 2);
            for pair in history.windows(2) {
                assert!(pair[1] <= pair[0] * (1.0 + 1e-6), "{layout:?}: {history:?}");
            }
        }
        let last: f64 = fit
            .history
            .iter()
            .filter_map(|history| history.last())
            .sum();
        let found = decoded(&fit.codebook, rows, cols);
        let found = squared_error(&weights, &found, &fisher) / mean;
        // The table moved once more after the last error was taken.
        assert!(found <= last * (1.0 + 1e-5), "{layout:?}: {found} {last}");
        assert!(found > 0.8 * last, "{layout:?}: {found} {last}");
        assert_eq!(fit.codebook.count(), layout.tables);
    }
}

#[test]
fn every_weight_has_the_nearest_of_its_values() {
    let (rows, cols) = (48, 72);
    let (weights, _) = layer(rows, cols);
    let weight = MatrixRef::new(&weights, rows, cols).unwrap();
    for layout in every_layout() {
        let fit = fit_scaled(weight, Importance::Equal, None, layout).unwrap();
        let codebook = &fit.codebook;
        let found = decoded(codebook, rows, cols);
        for (at, (weight, found)) in weights.iter().zip(&found).enumerate() {
            let group = at % cols / codebook.group_size(cols);
            let values = codebook.values_of(at / cols, group, (rows, cols));
            let best = values.iter().map(|value| (value - weight).abs());
            let best = best.fold(f32::INFINITY, f32::min);
            assert!(
                (found - weight).abs() <= best * (1.0 + 1e-5) + 1e-9,
                "{layout:?}"
            );
        }
    }
}

#[test]
fn local_scales_and_learned_tables_pay() {
    let (rows, cols) = (48, 72);
    let (weights, fisher) = layer(rows, cols);
    let weight = MatrixRef::new(&weights, rows, cols).unwrap();
    let importance = Importance::PerWeight(MatrixRef::new(&fisher, rows, cols).unwrap());
    let error = |layout| {
        let fit = fit_scaled(weight, importance, None, layout).unwrap();
        squared_error(&weights, &decoded(&fit.codebook, rows, cols), &fisher)
    };
    let four = ScaledLayout { bits: 4, ..LAYOUT };
    let table = |table| error(ScaledLayout { table, ..four });
    let learned = table(TableChoice::Learned);
    assert!(learned < table(TableChoice::Iq4Nl));
    assert!(learned < table(TableChoice::Nf4));
    let granularity = |granularity| {
        error(ScaledLayout {
            granularity,
            ..LAYOUT
        })
    };
    assert!(granularity(Granularity::Group(8)) < 0.8 * granularity(Granularity::Channel));
    // Narrow scales cost little.
    let scale_bits = |scale_bits| {
        error(ScaledLayout {
            scale_bits,
            ..LAYOUT
        })
    };
    let errors = [16, 8, 6].map(scale_bits);
    // The rounds end in different minima, which the heavy tails of this Fisher set 6 % apart.
    assert!(errors[1] < 1.1 * errors[0], "{errors:?}");
    assert!(errors[2] < 1.1 * errors[0], "{errors:?}");
}

#[test]
fn removed_weights_and_those_without_importance_move_nothing() {
    let (rows, cols) = (16, 64);
    let (mut weights, mut fisher) = layer(rows, cols);
    let before = weights.clone();
    let mut mask = vec![false; rows * cols];
    for at in (5..rows * cols).step_by(37) {
        mask[at] = true;
    }
    let fit = |weights: &[f32], fisher: &[f32], mask: Option<&[bool]>| {
        let weight = MatrixRef::new(weights, rows, cols).unwrap();
        let importance = Importance::PerWeight(MatrixRef::new(fisher, rows, cols).unwrap());
        fit_scaled(weight, importance, mask, LAYOUT).unwrap()
    };
    let expected = fit(&weights, &fisher, Some(&mask));
    for (weight, mark) in weights.iter_mut().zip(&mask) {
        *weight = if *mark { 1e6 } else { *weight };
    }
    let found = fit(&weights, &fisher, Some(&mask));
    assert_eq!(found.codebook.tables, expected.codebook.tables);
    assert_eq!(found.codebook.scales, expected.codebook.scales);
    // The same with a Fisher of 0 and no mask: f32 sums of the importance are the same.
    for (fisher, mark) in fisher.iter_mut().zip(&mask) {
        *fisher = if *mark { 0.0 } else { *fisher };
    }
    let unmasked = fit(&before, &fisher, None);
    let masked = fit(&before, &fisher, Some(&mask));
    assert_eq!(unmasked, masked);
    // No importance at all is equal importance.
    let weight = MatrixRef::new(&before, rows, cols).unwrap();
    let equal = fit_scaled(weight, Importance::Equal, None, LAYOUT).unwrap();
    assert_eq!(fit(&before, &vec![0.0; rows * cols], None), equal);
    let inputs = fit_scaled(weight, Importance::PerInput(&[1.0; 64]), None, LAYOUT).unwrap();
    assert_eq!(inputs, equal);
}

#[test]
fn zeros_constant_rows_and_tiny_shapes_are_stored() {
    let flat = |value: f32, rows, cols| {
        let weights = vec![value; rows * cols];
        let weight = MatrixRef::new(&weights, rows, cols).unwrap();
        let fit = fit_scaled(weight, Importance::Equal, None, LAYOUT).unwrap();
        decoded(&fit.codebook, rows, cols)
    };
    assert!(flat(0.0, 3, 40).iter().all(|value| *value == 0.0));
    let same = flat(-0.25, 3, 40);
    assert!(
        same.iter().all(|value| (value + 0.25).abs() < 1e-4),
        "{same:?}"
    );
    assert_eq!(flat(0.5, 1, 1).len(), 1);
    assert!(flat(0.5, 2, 0).is_empty());
    let weights = [0.0, 1e6];
    let weight = MatrixRef::new(&weights, 1, 2).unwrap();
    let refused = fit_scaled(weight, Importance::Equal, None, LAYOUT).unwrap_err();
    assert!(matches!(
        refused,
        QuantizeError::HalfRange { row: 0, col: 1, .. }
    ));
}

#[test]
fn threads_do_not_change_the_result() {
    let (rows, cols) = (48, 72);
    let (weights, fisher) = layer(rows, cols);
    let weight = MatrixRef::new(&weights, rows, cols).unwrap();
    let importance = Importance::PerWeight(MatrixRef::new(&fisher, rows, cols).unwrap());
    for layout in every_layout() {
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            let pool = pool.build().unwrap();
            pool.install(|| fit_scaled(weight, importance, None, layout).unwrap())
        };
        assert_eq!(on(1), on(4), "{layout:?}");
    }
}
