//! How fast packed matrices are multiplied with one input, or several at a time, beside how fast the machine reads memory.
//!
//! ```text
//! taskset -c 0 cargo run --release --example packed_product -p quantizers -- ROWS COLS [INPUTS]
//! ```
//!
//! The matrices lie in memory, not in a cache: several of them, 256 MiB in all, are multiplied in turn. `QUENCH_KERNEL`
//! names the kernel to use.
#![expect(clippy::print_stdout, reason = "printing figures is its purpose")]

use half::f16;
use quantizers::MatrixRef;
use quantizers::codebook::fit_rows;
use quantizers::kernels::{Compute, PackedMatrix};
use quantizers::outliers::extract;
use quantizers::tensor::{Encoding, FloatType, Granularity, QuantizedTensor, Uniform};
use std::time::Instant;

/// Bytes that no cache holds.
const IN_MEMORY: usize = 1 << 28;
/// Times that each matrix is multiplied.
const ROUNDS: usize = 5;

fn main() {
    let mut sides = std::env::args()
        .skip(1)
        .map(|side| side.parse().expect("a number of rows or columns"));
    let mut side = |default: usize| sides.next().unwrap_or(default);
    let (rows, cols, inputs) = (side(4096), side(4096), side(1));
    rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build_global()
        .expect("the pool is not built yet");
    // From outside the pool every product would wait for a thread of it to wake.
    rayon::scope(|_| table([rows, cols], inputs));
}

fn table([rows, cols]: [usize; 2], inputs: usize) {
    let bandwidth = read_bandwidth();
    println!("reading memory: {:.1} GB/s", bandwidth / 1e9);
    println!("| weights | computing | Gw/s | products/ns | GB/s | of reading |");
    println!("|---|---|---|---|---|---|");
    let weights = noise(rows * cols);
    let matrices = [
        ("4-bit codebook", codebook(&weights, rows, cols, 4, false)),
        (
            "4-bit codebook + 0.45 %",
            codebook(&weights, rows, cols, 4, true),
        ),
        ("3-bit codebook", codebook(&weights, rows, cols, 3, false)),
        (
            "3-bit codebook + 0.45 %",
            codebook(&weights, rows, cols, 3, true),
        ),
        ("2-bit codebook", codebook(&weights, rows, cols, 2, false)),
        ("4-bit grid, groups of 128", uniform(rows, cols, 4)),
        ("8-bit grid, groups of 128", uniform(rows, cols, 8)),
    ];
    for (name, tensor) in &matrices {
        let packed = PackedMatrix::of_quantized(tensor).expect("it is executed packed");
        for compute in [Compute::F32, Compute::Bf16, Compute::Int16, Compute::Int8] {
            row(
                name,
                &compute.to_string(),
                &packed.clone().computing(compute),
                (inputs, bandwidth),
            );
        }
    }
    let halves: Vec<f32> = weights.iter().map(|x| f16::from_f32(*x).to_f32()).collect();
    let packed = PackedMatrix::of_values(&halves, cols).expect("f16 values");
    row("f16", "f32", &packed, (inputs, bandwidth));
}

fn row(name: &str, compute: &str, packed: &PackedMatrix, (inputs, bandwidth): (usize, f64)) {
    let copies: Vec<PackedMatrix> = vec![packed.clone(); IN_MEMORY.div_ceil(packed.bytes())];
    let input = noise(inputs * packed.cols());
    let times = (0..ROUNDS).flat_map(|_| &copies).map(|copy| {
        let start = Instant::now();
        std::hint::black_box(copy.multiply(std::hint::black_box(&input)));
        start.elapsed().as_secs_f64()
    });
    let time = undisturbed(times.collect());
    #[expect(clippy::cast_precision_loss, reason = "counts")]
    let (count, bytes, inputs) = (
        (packed.rows() * packed.cols()) as f64,
        packed.bytes() as f64,
        inputs as f64,
    );
    println!(
        "| {name} | {compute} | {:.1} | {:.1} | {:.1} | {:.0} % |",
        count / time / 1e9,
        inputs * count / time / 1e9,
        bytes / time / 1e9,
        100.0 * bytes / time / bandwidth
    );
}

/// The 20th percentile: what a busy machine does beside is not to count.
fn undisturbed(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 5]
}

/// Bytes a second of one thread that sums what it reads.
fn read_bandwidth() -> f64 {
    const PIECE: usize = 1 << 20;
    let words = vec![1_u64; IN_MEMORY / 8];
    let pieces = (0..ROUNDS).flat_map(|_| words.chunks(PIECE));
    let times = pieces.map(|piece| {
        let start = Instant::now();
        let mut sums = [0_u64; 16];
        for chunk in piece.as_chunks::<16>().0 {
            for (sum, word) in sums.iter_mut().zip(chunk) {
                *sum = sum.wrapping_add(*word);
            }
        }
        std::hint::black_box(sums);
        start.elapsed().as_secs_f64()
    });
    #[expect(clippy::cast_precision_loss, reason = "a count")]
    let bytes = (8 * PIECE) as f64;
    bytes / undisturbed(times.collect())
}

/// Numbers that look like weights.
fn noise(count: usize) -> Vec<f32> {
    let mut state = 12345_u32;
    let mut one = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        #[expect(clippy::cast_precision_loss, reason = "made up")]
        let value = (state >> 8) as f32 / (1 << 24) as f32 - 0.5;
        value
    };
    (0..count)
        .map(|_| (one() + one() + one() + one()) * 0.02)
        .collect()
}

fn codebook(weights: &[f32], rows: usize, cols: usize, bits: u8, sparse: bool) -> QuantizedTensor {
    let matrix = MatrixRef::new(weights, rows, cols).expect("rows times columns");
    // Without structure, as outliers are.
    let removed: Vec<bool> = (0..rows * cols)
        .map(|at| sparse && at.wrapping_mul(2_654_435_761) % 100_000 < 450)
        .collect();
    let mut codebook = fit_rows(matrix, None, Some(&removed), bits).expect("a fit");
    let outliers = sparse.then(|| extract(matrix, &removed, &mut codebook).expect("outliers"));
    QuantizedTensor {
        rows,
        cols,
        encoding: Encoding::Codebook(codebook),
        outliers,
    }
}

fn uniform(rows: usize, cols: usize, bits: u8) -> QuantizedTensor {
    let granularity = Granularity::Group(128);
    let count = granularity.scale_count(rows, cols);
    let half = i32::from(1_u8 << (bits - 1));
    let codes = (0..rows * cols).map(|at| {
        let code = i32::try_from(at.wrapping_mul(2_654_435_761) >> 7 & 0xff).expect("a byte");
        i8::try_from(code % (2 * half) - half).expect("within the width")
    });
    QuantizedTensor {
        rows,
        cols,
        encoding: Encoding::Uniform(Uniform {
            bits,
            granularity,
            codes: codes.collect(),
            scales: vec![0.01; count],
            scale_type: FloatType::F16,
            zero_points: None,
            float_zero_points: None,
            column_groups: None,
        }),
        outliers: None,
    }
}
