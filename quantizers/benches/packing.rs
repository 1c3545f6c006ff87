//! Packing, unpacking, rounding and decoding of one 1024 x 4096 layer, in weights per second.
#![expect(clippy::unwrap_used, reason = "a bench stops at the first error")]

use divan::{Bencher, counter::ItemsCount};
use quantizers::grid::Grid;
use quantizers::tensor::Encoding;
use quantizers::{FloatType, Granularity, MatrixRef, QuantizedTensor, pack};

const ROWS: usize = 1024;
const COLS: usize = 4096;

fn main() {
    divan::main();
}

fn weights() -> Vec<f32> {
    (0..ROWS * COLS)
        .map(|i| ((i * 2_654_435_761 % 65_521) as f32 / 65_521.0 - 0.5) * 0.1)
        .collect()
}

fn grid(bits: u8, arithmetic: FloatType) -> Grid {
    Grid {
        bits,
        symmetric: true,
        scale_type: FloatType::Bf16,
        arithmetic,
    }
}

fn quantized(bits: u8) -> QuantizedTensor {
    let data = weights();
    let weight = MatrixRef::new(&data, ROWS, COLS).unwrap();
    let uniform = grid(bits, FloatType::F32).quantize(weight, Granularity::Group(128));
    QuantizedTensor {
        rows: ROWS,
        cols: COLS,
        encoding: Encoding::Uniform(uniform),
        outliers: None,
    }
}

fn codes(bits: u8) -> Vec<u8> {
    (0..=255)
        .cycle()
        .take(ROWS * COLS)
        .map(|code: u8| code >> (8 - bits))
        .collect()
}

#[divan::bench(args = [2, 3, 4, 8])]
fn packing(bencher: Bencher, bits: u8) {
    let codes = codes(bits);
    let bencher = bencher.counter(ItemsCount::new(codes.len()));
    bencher.bench(|| pack::pack(&codes, COLS, bits));
}

#[divan::bench(args = [2, 3, 4, 8])]
fn unpacking(bencher: Bencher, bits: u8) {
    let packed = pack::pack(&codes(bits), COLS, bits);
    let bencher = bencher.counter(ItemsCount::new(ROWS * COLS));
    bencher.bench(|| pack::unpack(&packed, ROWS, COLS, bits));
}

#[divan::bench(args = [FloatType::F32, FloatType::Bf16, FloatType::F16])]
fn rounding(bencher: Bencher, arithmetic: FloatType) {
    let data = weights();
    let weight = MatrixRef::new(&data, ROWS, COLS).unwrap();
    let bencher = bencher.counter(ItemsCount::new(data.len()));
    bencher.bench(|| grid(4, arithmetic).quantize(weight, Granularity::Group(128)));
}

#[divan::bench]
fn decoding(bencher: Bencher) {
    let tensor = quantized(4);
    let mut out = vec![0.0; ROWS * COLS];
    let bencher = bencher.counter(ItemsCount::new(out.len()));
    bencher.bench_local(|| tensor.dequantize_into(&mut out));
}

#[divan::bench]
fn fingerprint(bencher: Bencher) {
    let tensor = quantized(4);
    bencher
        .counter(ItemsCount::new(ROWS * COLS))
        .bench(|| tensor.digest());
}
