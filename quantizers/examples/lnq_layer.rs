//! Times LNQ beside GPTQ on one layer, and prints how much of the layer's output each loses:
//! `cargo run --release --example lnq_layer -- FILE|ROWSxCOLS [BITS] [ITERATIONS] [CYCLES]`
//!
//! FILE is a safetensors file (`weight` f32 `[rows, cols]` and its Hessian `h` f32 `[cols, cols]`); `ROWSxCOLS` makes
//! weights and inputs of that size up. Times are of the processor, all threads together, since cores may be shared.
#![expect(clippy::print_stdout, reason = "printing figures is its purpose")]

use quantizers::codebook::fit_rows;
use quantizers::grid::Grid;
use quantizers::linalg::product::{Strided, product};
use quantizers::methods::gptq::Compensation;
use quantizers::methods::lnq::Alternation;
use quantizers::{
    Encoding, FloatType, Granularity, MatrixRef, QuantizedTensor, error_metrics::Deviation,
};
use std::error::Error;

/// A weight with the Hessian of its inputs.
struct Layer {
    weight: Vec<f32>,
    hessian: Vec<f32>,
    cols: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let subject = args
        .first()
        .ok_or("expected a safetensors file or a size")?;
    let number = |at: usize, default: usize| args.get(at).map_or(Ok(default), |n| n.parse());
    let bits = u8::try_from(number(1, 3)?)?;
    let layer = match subject.split_once('x').and_then(|(rows, cols)| {
        let rows: usize = rows.parse().ok()?;
        Some((rows, cols.parse().ok()?))
    }) {
        Some((rows, cols)) => made_up(rows, cols),
        None => read(subject)?,
    };
    let cols = layer.cols;
    let weight = MatrixRef::new(&layer.weight, layer.weight.len() / cols, cols)?;
    let hessian = MatrixRef::new(&layer.hessian, cols, cols)?;
    let report = |name: &str, seconds: f64, encoding| -> Result<(), Box<dyn Error>> {
        let tensor = QuantizedTensor {
            rows: weight.rows(),
            cols,
            encoding,
            outliers: None,
        };
        let decoded = tensor.dequantize();
        let decoded = MatrixRef::new(&decoded, weight.rows(), cols)?;
        let lost = Deviation::of_outputs(weight, decoded, hessian).relative();
        let bits = tensor.storage_bits() as f64 / weight.data().len() as f64;
        println!("{name:24} {seconds:8.2} s of CPU, {bits:.3} bits, relative error {lost:.6}");
        Ok(())
    };
    let grid = Grid {
        bits,
        symmetric: true,
        scale_type: FloatType::F16,
        arithmetic: FloatType::F32,
    };
    let compensation = Compensation {
        damping: 0.01,
        act_order: true,
        static_groups: true,
        block_size: 128,
    };
    let clock = cpu_seconds();
    let found = compensation.quantize(grid, Granularity::Channel, weight, hessian)?;
    let gptq = cpu_seconds() - clock;
    report("gptq", gptq, Encoding::Uniform(found.uniform))?;
    let diagonal: Vec<f32> = (0..cols).map(|at| hessian.row(at)[at]).collect();
    let importance = diagonal.repeat(weight.rows());
    let importance = MatrixRef::new(&importance, weight.rows(), cols)?;
    let clock = cpu_seconds();
    let mut codebook = fit_rows(weight, Some(importance), None, bits)?;
    let start = cpu_seconds() - clock;
    report("k-means", start, Encoding::Codebook(codebook.clone()))?;
    let alternation = Alternation {
        iterations: number(2, 1)?,
        cycles: number(3, 2)?,
        damping: 0.01,
    };
    let clock = cpu_seconds();
    let progress = alternation.fit(weight, (&[hessian], "hessian"), None, &mut codebook)?;
    let seconds = start + cpu_seconds() - clock;
    report("lnq", seconds, Encoding::Codebook(codebook))?;
    let steps: Vec<String> = progress
        .steps
        .iter()
        .map(|step| format!("{:.4}", step / progress.steps[0]))
        .collect();
    println!(
        "lnq takes {:.2} times the time of gptq; objective after each step: {}",
        seconds / gptq,
        steps.join(" ")
    );
    Ok(())
}

/// CPU time of this process so far, where the system tells (Linux, in hundredths).
fn cpu_seconds() -> f64 {
    let stat = fs_err::read_to_string("/proc/self/stat").unwrap_or_default();
    let times = stat.rsplit(')').next().unwrap_or_default().split(' ');
    let ticks = times.skip(12).take(2);
    let ticks = ticks.map(|time| time.parse::<f64>().unwrap_or(f64::NAN));
    ticks.sum::<f64>() / 100.0
}

/// The layer of a file.
fn read(path: &str) -> Result<Layer, Box<dyn Error>> {
    let bytes = fs_err::read(path)?;
    let file = safetensors::SafeTensors::deserialize(&bytes)?;
    let floats = |name: &str| -> Result<Vec<f32>, Box<dyn Error>> {
        let values = file.tensor(name)?.data().chunks_exact(4);
        Ok(values
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect())
    };
    Ok(Layer {
        weight: floats("weight")?,
        hessian: floats("h")?,
        cols: file.tensor("weight")?.shape()[1],
    })
}

/// Weights that look normal, and twice as many inputs as columns that share a few directions.
fn made_up(rows: usize, cols: usize) -> Layer {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = |count: usize| -> Vec<f32> {
        let mut one = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / 16_777_216.0 - 0.5
        };
        (0..count).map(|_| one() + one() + one() + one()).collect()
    };
    let weight = draw(rows * cols);
    let tokens = 2 * cols;
    let shared = 16;
    let (factors, directions) = (draw(tokens * shared), draw(shared * cols));
    let mut inputs = draw(tokens * cols);
    let common = product(
        Strided::row_major(&factors, shared),
        Strided::row_major(&directions, cols),
    );
    for (input, common) in inputs.iter_mut().zip(common) {
        *input += 0.3 * common;
    }
    let inputs = Strided::row_major(&inputs, cols);
    Layer {
        weight,
        hessian: product(inputs.transposed(), inputs),
        cols,
    }
}
