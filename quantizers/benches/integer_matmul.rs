//! Integer matrix multiplication: every kernel, the fused epilogues, and the packing of attention.
#![expect(clippy::unwrap_used, reason = "a bench stops at the first error")]

use std::fmt;

use divan::{Bencher, black_box, counter::ItemsCount};
use quantizers::integer::matmul::epilogue::{Requantize, Scales, Store};
use quantizers::integer::matmul::{
    KERNELS, Kernel, Left, PackedMatrix, fastest, multiply, multiply_into,
};

/// `[M, K, N]`.
const SHAPES: [[usize; 3]; 4] = [
    [384, 1536, 512],
    [128, 384, 1536],
    [128, 32, 128],
    [1, 768, 3072],
];

fn main() {
    divan::main();
}

/// Codes that differ from place to place.
fn codes(len: usize) -> Vec<u8> {
    (0..len)
        .map(|i| ((i * 2_654_435_761) >> 7).to_le_bytes()[0])
        .collect()
}

fn signed(len: usize) -> Vec<i8> {
    codes(len).iter().map(|code| code.cast_signed()).collect()
}

/// A kernel that this processor runs, on one shape.
struct Case {
    kernel: &'static dyn Kernel,
    shape: [usize; 3],
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.kernel.name(), self.shape)
    }
}

fn cases() -> impl Iterator<Item = Case> {
    let kernels = KERNELS.iter().filter(|kernel| kernel.available());
    kernels.flat_map(|&kernel| SHAPES.map(|shape| Case { kernel, shape }))
}

/// To `i32`; items are multiply-accumulates.
#[divan::bench(args = cases())]
fn sums(bencher: Bencher, case: &Case) {
    let [m, k, n] = case.shape;
    let (left, packed) = (codes(m * k), PackedMatrix::pack(&signed(n * k), n, k));
    let left = Left::new(&left, m, k);
    let mut out = vec![0; m * n];
    bencher
        .counter(ItemsCount::new(m * k * n))
        .bench_local(|| multiply_into(case.kernel, left, black_box(&packed), &mut out, n));
}

/// To `u8` with the fastest kernel; items are multiply-accumulates.
#[divan::bench(args = SHAPES)]
fn requantized(bencher: Bencher, [m, k, n]: [usize; 3]) {
    let (left, packed) = (codes(m * k), PackedMatrix::pack(&signed(n * k), n, k));
    let left = Left::new(&left, m, k);
    let scales = Scales {
        bias: &vec![17; n],
        multipliers: &vec![1_500_000_000; n],
        shifts: &vec![45; n],
    };
    let requantize = Requantize::<u8>::new(scales, 128, (0, 255)).unwrap();
    let mut out = vec![0; m * n];
    let mut epilogue = Store {
        requantize: &requantize,
        out: &mut out,
        stride: n,
    };
    bencher
        .counter(ItemsCount::new(m * k * n))
        .bench_local(|| multiply(fastest(), left, black_box(&packed), &mut epilogue));
}

/// Keys and transposed values of one 32-wide head inside a 384-wide projection; items are codes.
#[divan::bench(args = [false, true])]
fn packing(bencher: Bencher, transposed: bool) {
    let (tokens, width, stride) = (128, 32, 384);
    let values = signed(tokens * stride);
    let mut packed = PackedMatrix::default();
    let bencher = bencher.counter(ItemsCount::new(tokens * width));
    bencher.bench_local(|| {
        if transposed {
            packed.pack_transposed_into(black_box(&values), width, tokens, stride);
        } else {
            packed.pack_into(black_box(&values), tokens, width, stride);
        }
    });
}
