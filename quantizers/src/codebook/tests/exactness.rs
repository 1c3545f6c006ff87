//! The solver against the plain `O(k n^2)` program with run costs that use no prefix sums.

use crate::codebook::{Row, Solver};
use proptest::prelude::*;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Least weighted squared error of `entries` clusters: sorted distinct points, run costs by West's
/// update (terms never cancel), and the textbook recurrence.
pub(super) fn plain_optimum(values: &[f32], weights: &[f32], entries: usize) -> f64 {
    let mut points: Vec<(f64, f64)> = values
        .iter()
        .zip(weights)
        .map(|(&v, &w)| (f64::from(v), f64::from(w)))
        .filter(|(_, w)| *w > 0.0)
        .collect();
    if points.is_empty() {
        points = values.iter().map(|&v| (f64::from(v), 1.0)).collect();
    }
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    let count = points.len();
    if count <= entries {
        return 0.0;
    }
    let mut cost = vec![vec![0.0; count + 1]; count];
    for start in 0..count {
        let (mut total, mut mean, mut sum) = (0.0, 0.0, 0.0);
        for end in start..count {
            let (x, w) = (points[end].0 - points[start].0, points[end].1);
            let before = total;
            total += w;
            let step = (x - mean) * (w / total);
            sum += before * step * (x - mean);
            mean += step;
            cost[start][end + 1] = sum;
        }
    }
    let mut best: Vec<f64> = (0..=count)
        .map(|end| if end == 0 { 0.0 } else { cost[0][end] })
        .collect();
    for _ in 1..entries {
        best = (0..=count)
            .map(|end| {
                (0..end)
                    .map(|j| best[j] + cost[j][end])
                    .fold(best[end], f64::min)
            })
            .collect();
    }
    best[count]
}

/// Weighted squared error with every value at its nearest centroid.
pub(in crate::codebook) fn squared_error(
    values: &[f32],
    weights: &[f32],
    centroids: &[f64],
) -> f64 {
    let ones = weights.iter().all(|w| *w == 0.0);
    let terms = values.iter().zip(weights).map(|(&value, &weight)| {
        let weight = if ones { 1.0 } else { f64::from(weight) };
        let squares = centroids.iter().map(|c| (f64::from(value) - c).powi(2));
        weight * squares.fold(f64::INFINITY, f64::min)
    });
    terms.sum()
}

fn check(solver: &mut Solver, values: &[f32], weights: &[f32], entries: usize) {
    let row = Row {
        values,
        weights: Some(weights),
        removed: None,
    };
    let solution = solver.solve(row, entries);
    assert!(solution.centroids.is_sorted());
    assert!((1..=entries).contains(&solution.centroids.len()));
    let found = squared_error(values, weights, solution.centroids);
    let best = plain_optimum(values, weights, entries);
    // Where every point has its own entry the error is what rounding a mean to f64 leaves.
    let (count, label) = (values.len(), "values, entries, found, optimum");
    let square = |(v, w): (&f32, &f32)| f64::from(*w) * f64::from(*v).powi(2);
    let floor = 1.3e-32 * values.iter().zip(weights).map(square).sum::<f64>();
    assert!(
        found <= best * (1.0 + 1e-9) + floor,
        "{label}: {count} {entries} {found:e} {best:e}"
    );
    assert!(
        found >= best * (1.0 - 1e-9) - floor,
        "{label}: {count} {entries} {found:e} {best:e}"
    );
    assert!(
        (solution.cost - found).abs() <= 2e-9 * found + floor.max(1e-15 * found),
        "claimed {:e}, found {found:e}",
        solution.cost
    );
}

/// Sum of a few uniform draws: bell-shaped, with `tail` a heavy-tailed factor on top.
fn bell(rng: &mut ChaCha8Rng, tail: f32) -> f32 {
    let sum: f32 = (0..6).map(|_| rng.random_range(-1.0..1.0)).sum();
    sum * (tail * rng.random_range(0.0_f32..1.0).powi(8)).exp()
}

/// A row of one of many kinds: ties, zero weights, heavy tails in values and weights, clusters far
/// apart, tiny and huge scales.
fn random_row(rng: &mut ChaCha8Rng, count: usize) -> (Vec<f32>, Vec<f32>) {
    let scale = 10_f32.powi(rng.random_range(-12..6));
    let tail = if rng.random_bool(0.3) { 5.0 } else { 0.0 };
    let steps = [0.0, 0.0, 0.05, 0.5][rng.random_range(0..4)];
    let spread = [0.0, 0.5, 2.0, 8.0][rng.random_range(0..4)];
    let zeros = [0.0, 0.0, 0.1, 0.8][rng.random_range(0..4)];
    let offset = [0.0, 0.0, 100.0][rng.random_range(0..3)];
    let value = |rng: &mut ChaCha8Rng| {
        let value = bell(rng, tail) + offset;
        scale
            * if steps > 0.0 {
                (value / steps).round() * steps
            } else {
                value
            }
    };
    let weight = |rng: &mut ChaCha8Rng| {
        if rng.random_bool(zeros) {
            0.0
        } else {
            (spread * bell(rng, 0.0)).exp() * 1e-8
        }
    };
    let values = (0..count).map(|_| value(rng)).collect();
    let weights = (0..count).map(|_| weight(rng)).collect();
    (values, weights)
}

#[test]
fn thousands_of_small_rows_are_optimal() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut solver = Solver::default();
    for _ in 0..4000 {
        let count = rng.random_range(1..90);
        let (values, weights) = random_row(&mut rng, count);
        let entries = rng.random_range(1..18);
        check(&mut solver, &values, &weights, entries);
    }
}

#[test]
fn hundreds_of_long_rows_are_optimal() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let mut solver = Solver::default();
    for case in 0..300 {
        let count = rng.random_range(200..700);
        let (values, weights) = random_row(&mut rng, count);
        check(
            &mut solver,
            &values,
            &weights,
            [2, 3, 4, 8, 16, 32][case % 6],
        );
    }
}

#[test]
fn rows_with_little_to_choose_are_optimal() {
    let mut solver = Solver::default();
    let tiny = f32::from_bits(1);
    for entries in [1, 2, 4, 8, 16] {
        let constant = [0.25; 40];
        check(&mut solver, &constant, &[1.0; 40], entries);
        check(&mut solver, &[3.0], &[0.0], entries);
        let subnormal: Vec<f32> = (0..200_u16).map(|i| f32::from(i % 23) * tiny).collect();
        check(&mut solver, &subnormal, &[1.0; 200], entries);
        let grid: Vec<f32> = (0..160_u16).map(f32::from).collect();
        check(&mut solver, &grid, &[1.0; 160], entries);
        let mut zeros = grid.clone();
        zeros[20..150].fill(0.0);
        check(&mut solver, &zeros, &[1e-12; 160], entries);
        check(&mut solver, &zeros, &[0.0; 160], entries);
    }
    assert_eq!(solver.solve(Row::new(&[]), 4).centroids, &[] as &[f64]);
}

#[test]
fn weights_over_thirty_orders_of_magnitude_are_optimal() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let mut solver = Solver::default();
    for _ in 0..200 {
        let count = rng.random_range(40..300);
        let values: Vec<f32> = (0..count).map(|_| bell(&mut rng, 0.0)).collect();
        // A few weights of 1e15 at the same few values, the rest around 1e-15.
        let anchors = [0.0, 1.5, -2.0];
        let (mut values, mut weights) = (values, vec![1e-15; count]);
        for _ in 0..rng.random_range(1..6) {
            let at = rng.random_range(0..count);
            (values[at], weights[at]) = (anchors[rng.random_range(0..3)], 1e15);
        }
        check(
            &mut solver,
            &values,
            &weights,
            [4, 5, 8, 16][rng.next_u32() as usize % 4],
        );
    }
}

#[test]
fn refining_evaluates_few_runs() {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let values: Vec<f32> = (0..4096).map(|_| bell(&mut rng, 1.0)).collect();
    let weights: Vec<f32> = (0..4096)
        .map(|_| (2.0 * bell(&mut rng, 0.0)).exp())
        .collect();
    let row = Row {
        values: &values,
        weights: Some(&weights),
        removed: None,
    };
    for (entries, per_weight) in [(4, 4), (8, 8), (16, 24)] {
        let mut solver = Solver::default();
        let cost = solver.solve(row, entries).cost;
        assert!(
            solver.evaluations() < per_weight * 4096,
            "{entries}: {}",
            solver.evaluations()
        );
        let optimum = plain_optimum(&values, &weights, entries);
        assert!((cost / optimum - 1.0).abs() < 1e-10, "{cost:e} {optimum:e}");
    }
}

proptest! {
    #[test]
    fn order_and_scale_do_not_matter(
        points in prop::collection::vec((-4.0_f32..4.0, 0.0_f32..2.0), 1..200),
        entries in 1_usize..9,
        power in -20_i32..20,
    ) {
        let (values, weights): (Vec<f32>, Vec<f32>) = points.iter().copied().unzip();
        let factor = (power as f32).exp2();
        let scale = |values: &[f32]| -> Vec<f32> { values.iter().rev().map(|v| v * factor).collect() };
        let (scaled, rescaled) = (scale(&values), scale(&weights));
        let mut solver = Solver::default();
        let row = Row { values: &values, weights: Some(&weights), removed: None };
        let plain = solver.solve(row, entries).centroids.to_vec();
        let row = Row { values: &scaled, weights: Some(&rescaled), removed: None };
        let other = solver.solve(row, entries).centroids.to_vec();
        let factor = f64::from(factor);
        let (plain, other) = (
            squared_error(&values, &weights, &plain),
            squared_error(&scaled, &rescaled, &other) / (factor * factor * factor),
        );
        prop_assert!((plain - other).abs() <= 1e-9 * plain + 1e-30, "{} {}", plain, other);
    }
}
