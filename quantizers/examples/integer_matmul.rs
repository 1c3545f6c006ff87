//! Speed of every integer kernel on the shapes of small encoders, as a share of what one core can
//! multiply at most.
#![expect(clippy::print_stdout, reason = "an example prints its table")]
#![expect(clippy::unwrap_used, reason = "an example stops at the first error")]

use std::hint::black_box;
use std::time::Instant;

use quantizers::integer::matmul::epilogue::{
    AddResidual, Branch, ByteTable, Requantize, Residual, Scales, Store, StoreLookup, StoreMapped,
};
use quantizers::integer::matmul::{
    Epilogue, KERNELS, Kernel, Left, PackedMatrix, Tile, fastest, multiply, multiply_into,
};

/// `[M, K, N]`: the layers of a 384-wide encoder, attention of 128 tokens and one 32-wide head,
/// and one token through a wider layer.
const SHAPES: [[usize; 3]; 8] = [
    [384, 1536, 512],
    [128, 384, 1536],
    [128, 1536, 384],
    [128, 384, 384],
    [128, 32, 128],
    [128, 128, 32],
    [512, 768, 3072],
    [1, 768, 3072],
];

/// Fastest of many runs, in seconds; a run is at least 2 milliseconds.
fn seconds(mut work: impl FnMut()) -> f64 {
    let start = Instant::now();
    work();
    let once = start.elapsed().as_secs_f64().max(1e-7);
    #[expect(clippy::cast_possible_truncation, reason = "a small count")]
    #[expect(clippy::cast_sign_loss, reason = "a positive count")]
    let repeats = (0.002 / once).ceil() as u32;
    let run = |work: &mut dyn FnMut()| {
        let start = Instant::now();
        for _ in 0..repeats {
            work();
        }
        start.elapsed().as_secs_f64() / f64::from(repeats)
    };
    (0..60)
        .map(|_| run(&mut work))
        .fold(f64::INFINITY, f64::min)
}

/// Multiply-accumulates per second, in billions, of `macs` done in `seconds`.
fn billions(macs: usize, seconds: f64) -> f64 {
    macs as f64 / seconds / 1e9
}

/// Independent `vpdpbusd` on registers alone.
#[cfg(target_arch = "x86_64")]
fn peak() -> Option<f64> {
    use std::arch::x86_64::{_mm512_dpbusd_epi32, _mm512_set1_epi32, _mm512_storeu_si512};

    const STEPS: usize = 4096;
    const SUMS: usize = 16;

    #[target_feature(enable = "avx512f,avx512vnni")]
    #[expect(unsafe_code, reason = "a vector store takes a pointer")]
    fn run(codes: i32, weights: i32) -> [i32; 16] {
        let (codes, weights) = (_mm512_set1_epi32(codes), _mm512_set1_epi32(weights));
        let mut sums = [codes; SUMS];
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = _mm512_dpbusd_epi32(*sum, codes, weights);
            }
            black_box(());
        }
        let mut out = [0; 16];
        let all = sums
            .iter()
            .fold(codes, |all, &sum| _mm512_dpbusd_epi32(all, sum, sum));
        // SAFETY: `out` is as large as a vector.
        unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), all) };
        out
    }

    if !(is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni")) {
        return None;
    }
    #[expect(unsafe_code, reason = "needs instructions found at run time")]
    // SAFETY: the processor has them, checked above.
    let once = || unsafe { black_box(run(black_box(0x0102_0304), black_box(0x0405_0607))) };
    Some(billions(
        STEPS * SUMS * 64,
        seconds(|| {
            once();
        }),
    ))
}

#[cfg(not(target_arch = "x86_64"))]
fn peak() -> Option<f64> {
    None
}

/// Codes that differ from place to place.
fn codes(len: usize) -> Vec<u8> {
    (0..len)
        .map(|i| ((i * 2_654_435_761) >> 7).to_le_bytes()[0])
        .collect()
}

fn print(name: &str, [m, k, n]: [usize; 3], seconds: f64, peak: Option<f64>) {
    let rate = billions(m * k * n, seconds);
    let share = peak.map_or(String::from("-"), |peak| {
        format!("{:.1} %", 100.0 * rate / peak)
    });
    let shape = format!("{m} x {k} x {n}");
    println!(
        "| {name} | {shape} | {:.1} | {rate:.1} | {share} |",
        seconds * 1e6
    );
}

fn kernel_rows(kernel: &dyn Kernel, peak: Option<f64>) {
    for shape @ [m, k, n] in SHAPES {
        let left = codes(m * k);
        let right: Vec<i8> = codes(n * k).iter().map(|code| code.cast_signed()).collect();
        let packed = PackedMatrix::pack(&right, n, k);
        let left = Left::new(&left, m, k);
        let mut out = vec![0; m * n];
        let time = seconds(|| multiply_into(kernel, left, black_box(&packed), &mut out, n));
        print(kernel.name(), shape, time, peak);
    }
}

fn epilogue_rows(shape @ [m, k, n]: [usize; 3], peak: Option<f64>) {
    let left = codes(m * k);
    let right: Vec<i8> = codes(n * k).iter().map(|code| code.cast_signed()).collect();
    let packed = PackedMatrix::pack(&right, n, k);
    let left = Left::new(&left, m, k);
    let (bias, multipliers) = (vec![17; n], vec![1_500_000_000; n]);
    let shifts = [45, 31, 41, 36].map(|shift| vec![shift; n]);
    let [bytes, wide, fine, joined] = shifts.each_ref().map(|shifts| Scales {
        bias: &bias,
        multipliers: &multipliers,
        shifts,
    });
    let narrow = Requantize::<u8>::new(bytes, 128, (0, 255)).unwrap();
    let wide = Requantize::<u8>::new(wide, 128, (0, 255)).unwrap();
    let fine = Requantize::<i16>::new(fine, 2048, (0, 4095)).unwrap();
    let branch = Branch {
        factors: &[(1_300_000_000, 31)],
        zero_point: 0,
    };
    let scales = Residual::<i16>::new(joined, branch, 0, (-32_768, 32_767)).unwrap();
    let table = ByteTable::new(std::array::from_fn(|code| code.to_le_bytes()[0] ^ 0x5a));
    let large = codes(4096);
    let residual = vec![1234; m * n];
    let (mut bytes, mut words) = (vec![0; m * n], vec![0; m * n]);
    let time = |name: &str, epilogue: &mut dyn Epilogue| {
        let seconds = seconds(|| multiply(fastest(), left, black_box(&packed), epilogue));
        print(name, shape, seconds, peak);
    };
    time("tiles dropped", &mut |tile: &Tile<'_>| {
        black_box(tile.values);
    });
    let out = &mut bytes[..];
    time(
        "to u8",
        &mut Store {
            requantize: &narrow,
            out,
            stride: n,
        },
    );
    let out = &mut bytes[..];
    time(
        "to u8, shift under 32",
        &mut Store {
            requantize: &wide,
            out,
            stride: n,
        },
    );
    let out = &mut bytes[..];
    time(
        "to u8, 256 entries",
        &mut StoreMapped {
            requantize: &narrow,
            table: &table,
            out,
            stride: n,
        },
    );
    let out = &mut bytes[..];
    time(
        "to u8, 4096 entries",
        &mut StoreLookup {
            requantize: &fine,
            table: &large,
            out,
            stride: n,
        },
    );
    let (out, residual) = (&mut words[..], &residual[..]);
    let scales = &scales;
    time(
        "plus residual, i16",
        &mut AddResidual {
            scales,
            residual,
            residual_stride: n,
            out,
            stride: n,
        },
    );
}

fn packing_rows() {
    let values: Vec<i8> = codes(128 * 384)
        .iter()
        .map(|code| code.cast_signed())
        .collect();
    let mut packed = PackedMatrix::default();
    let keys = seconds(|| packed.pack_into(black_box(&values), 128, 32, 384));
    let transposed = seconds(|| packed.pack_transposed_into(black_box(&values), 32, 128, 384));
    println!(
        "\npacking one head of 128 tokens x 32: keys {:.2} us, values {:.2} us",
        keys * 1e6,
        transposed * 1e6
    );
}

fn main() {
    let peak = peak();
    println!("peak of one core: {:.1} GMAC/s\n", peak.unwrap_or(f64::NAN));
    println!(
        "| kernel or epilogue | M x K x N | us | GMAC/s | share of peak |\n|---|---|---|---|---|"
    );
    for kernel in KERNELS.iter().filter(|kernel| kernel.available()) {
        kernel_rows(*kernel, peak);
    }
    for shape in [[128, 384, 1536], [128, 1536, 384]] {
        epilogue_rows(shape, peak);
    }
    packing_rows();
}
