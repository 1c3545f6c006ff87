//! Rows of the exact operators: normalisation, softmax weights, attention outputs.

use divan::{Bencher, black_box};
use quantizers::integer::RowKernel;
use quantizers::integer::attention::{HeadAttention, Scores, Sums};
use quantizers::integer::kernels::exact::Norm;
use quantizers::nonlinear::exact::affine;
use quantizers::nonlinear::exact::attention::compile;
use quantizers::nonlinear::{AttentionRequest, Grid, Nonlinearity, Request, find};

fn main() {
    divan::main();
}

/// Channels of a normalised row.
const WIDTH: usize = 384;
/// Keys of a row of scores.
const KEYS: usize = 128;

fn grid(scale: f64, zero_point: i32, low: i32, high: i32) -> Grid {
    Grid {
        scales: vec![scale],
        zero_point,
        low,
        high,
    }
}

/// A row without a pattern the caches could learn.
fn mixed(count: usize, span: i32) -> Vec<i32> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        i32::try_from(state >> 8).unwrap_or(0) % span - span / 2
    };
    (0..count).map(|_| next()).collect()
}

fn norm() -> (Box<dyn RowKernel>, Request) {
    let request = Request {
        input: grid(3e-4, 0, -32768, 32767),
        output: Some(grid(0.03, 128, 0, 255)),
        output_bits: 8,
        width: WIDTH,
        gamma: vec![0.9; WIDTH],
        beta: vec![0.1; WIDTH],
        epsilon: 1e-12,
        code_variance: None,
    };
    let exact = find(Nonlinearity::LayerNorm, "exact").expect("registered");
    let kernel = exact.compile(&request).expect("compiles").kernel;
    (kernel, request)
}

#[divan::bench]
fn layer_norm_to_bytes_and_words(bencher: Bencher<'_, '_>) {
    let (kernel, request) = norm();
    let kernel: &Norm = kernel.as_any().downcast_ref().expect("a norm");
    let wide = grid(2e-4, 0, -32768, 32767);
    let function = Nonlinearity::LayerNorm;
    let residual = affine(function, WIDTH, &request.gamma, &request.beta, &wide).expect("compiles");
    let row: Vec<i16> = mixed(WIDTH, 20_000)
        .into_iter()
        .map(|q| i16::try_from(q).unwrap_or(0))
        .collect();
    let (mut space, mut bytes, mut words) = (vec![0; WIDTH], vec![0; WIDTH], vec![0; WIDTH]);
    bencher.bench_local(|| {
        kernel.run_both(
            &residual,
            black_box(&row),
            &mut space,
            &mut bytes,
            &mut words,
        );
    });
}

#[divan::bench]
fn layer_norm_generic(bencher: Bencher<'_, '_>) {
    let (kernel, _) = norm();
    let row = mixed(WIDTH, 20_000);
    let mut out = vec![0; WIDTH];
    bencher.bench_local(|| kernel.run(quantizers::integer::Mode::Fast, black_box(&row), &mut out));
}

fn head(weight_bits: u32) -> HeadAttention {
    compile(&AttentionRequest {
        query: grid(0.03, 128, 0, 255),
        key_scale: 0.03,
        value_scale: 0.03,
        factor: 0.125,
        output: grid(0.01, 128, 0, 255),
        head_dim: 64,
        most_keys: 512,
        weight_bits,
        guard_bits: 8,
    })
    .expect("compiles")
}

#[divan::bench]
fn softmax_weights_128(bencher: Bencher<'_, '_>) {
    let attention = head(8);
    let products = mixed(KEYS, 60_000);
    let offsets = mixed(KEYS, 1_000);
    let scores = Scores {
        products: &products,
        offsets: &offsets,
    };
    let mut weights = vec![0; KEYS];
    bencher.bench_local(|| attention.weights(black_box(scores), &mut weights));
}

#[divan::bench]
fn softmax_weights_512(bencher: Bencher<'_, '_>) {
    let attention = head(8);
    let products = mixed(512, 60_000);
    let offsets = mixed(512, 1_000);
    let scores = Scores {
        products: &products,
        offsets: &offsets,
    };
    let mut weights = vec![0; 512];
    bencher.bench_local(|| attention.weights(black_box(scores), &mut weights));
}

#[divan::bench]
fn softmax_weights_wide_128(bencher: Bencher<'_, '_>) {
    let attention = head(15);
    let products = mixed(KEYS, 60_000);
    let offsets = mixed(KEYS, 1_000);
    let scores = Scores {
        products: &products,
        offsets: &offsets,
    };
    let (mut high, mut low) = (vec![0; KEYS], vec![0; KEYS]);
    bencher.bench_local(|| attention.weights_wide(black_box(scores), &mut high, &mut low));
}

#[divan::bench]
fn attention_outputs_64(bencher: Bencher<'_, '_>) {
    let attention = head(8);
    let sums = mixed(64, 400_000);
    let mut out = vec![0; 64];
    bencher.bench_local(|| {
        attention
            .output
            .bytes(Sums::plain(black_box(&sums)), black_box(3_211), &mut out);
    });
}
