//! Exact weighted k-means, one row of 4096 values per iteration, one thread.

use divan::{Bencher, black_box};
use quantizers::codebook::{Row, Solver, assign};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn main() {
    divan::main();
}

/// Bell-shaped values with long tails, and weights over several orders of magnitude.
fn row() -> (Vec<f32>, Vec<f32>) {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut bell = || (0..6).map(|_| rng.random_range(-1.0_f32..1.0)).sum::<f32>();
    (0..4096)
        .map(|_| {
            (
                0.01 * bell() * (0.3 * bell()).exp(),
                (1.5 * bell() - 18.0).exp(),
            )
        })
        .unzip()
}

#[divan::bench(args = [2, 3, 4, 6])]
fn exact(bencher: Bencher, bits: u32) {
    let (values, weights) = row();
    let row = Row {
        values: &values,
        weights: Some(&weights),
        removed: None,
    };
    let mut solver = Solver::default();
    bencher.bench_local(|| solver.solve(black_box(row), 1 << bits).cost);
}

#[divan::bench(args = [2, 3, 4, 6])]
fn table_and_indices(bencher: Bencher, bits: u32) {
    let (values, weights) = row();
    let row = Row {
        values: &values,
        weights: Some(&weights),
        removed: None,
    };
    let mut solver = Solver::default();
    let (mut table, mut indices) = (vec![half::f16::ZERO; 1 << bits], vec![0; values.len()]);
    bencher.bench_local(|| {
        solver.table(black_box(row), &mut table);
        assign(&values, &table, &mut indices);
    });
}
