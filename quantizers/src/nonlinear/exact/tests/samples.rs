//! Rows and measures for the tests of this family.

use crate::integer::kernel::Mode;
use crate::nonlinear::{Compiled, Grid, Nonlinearity, Request, find};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub(super) fn generator(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

/// A standard normal value (Box and Muller).
pub(super) fn normal(random: &mut impl Rng) -> f64 {
    let radius = (-2.0 * (1.0 - random.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * random.random::<f64>()).cos()
}

pub(super) fn normals(random: &mut impl Rng, count: usize) -> Vec<f64> {
    (0..count).map(|_| normal(random)).collect()
}

/// `10 log10(sum reference^2 / sum error^2)`.
pub(super) fn sqnr_db(reference: &[f64], found: &[f64]) -> f64 {
    let signal: f64 = reference.iter().map(|x| x * x).sum();
    let error = reference.iter().zip(found).map(|(a, b)| (a - b).powi(2));
    10.0 * (signal / error.sum::<f64>()).log10()
}

pub(super) fn largest(values: &[f64]) -> f64 {
    values.iter().copied().map(f64::abs).fold(0.0, f64::max)
}

/// A signed grid of `bits` bits that spans plus or minus `reach`.
pub(super) fn symmetric(reach: f64, bits: u32) -> Grid {
    let high = i32::MAX >> (32 - bits);
    Grid {
        scales: vec![reach / f64::from(high)],
        zero_point: 0,
        low: -high - 1,
        high,
    }
}

/// The nearest codes.
#[expect(clippy::cast_possible_truncation, reason = "clamped to codes")]
pub(super) fn quantized(values: &[f64], grid: &Grid) -> Vec<i32> {
    let code = |value: &f64| {
        let code = (value / grid.scale(0)).round_ties_even() + f64::from(grid.zero_point);
        code.clamp(grid.low.into(), grid.high.into()) as i32
    };
    values.iter().map(code).collect()
}

pub(super) fn values(codes: &[i32], grid: &Grid) -> Vec<f64> {
    let value = |(channel, code): (usize, &i32)| grid.value(*code, channel);
    codes.iter().enumerate().map(value).collect()
}

/// A request without parameters.
pub(super) fn request(input: Grid, output: Option<Grid>, width: usize) -> Request {
    Request {
        input,
        output,
        output_bits: 8,
        width,
        gamma: vec![1.0; width],
        beta: vec![0.0; width],
        epsilon: 0.0,
        code_variance: None,
    }
}

pub(super) fn compiled(function: Nonlinearity, request: &Request) -> Compiled {
    find(function, "exact").unwrap().compile(request).unwrap()
}

/// A row through the kernel, in both modes: without a fault and with the same codes.
pub(super) fn run(compiled: &Compiled, row: &[i32]) -> Vec<i32> {
    let mut fast = vec![0; row.len()];
    let mut checked = vec![0; row.len()];
    compiled.kernel.run(Mode::Fast, row, &mut fast).unwrap();
    let outcome = compiled.kernel.run(Mode::Checked, row, &mut checked);
    assert_eq!(outcome, Ok(()), "{}", compiled.kernel.kind());
    assert_eq!(fast, checked, "{}", compiled.kernel.kind());
    fast
}
