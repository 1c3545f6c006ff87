//! Times GPTQ on one layer stored as safetensors (`weight` f32 `[rows, cols]` and its Hessian `h` f32
//! `[cols, cols]`) and prints how much of the layer's output it loses:
//! `cargo run --release --example gptq_layer -- FILE [BITS] [GROUP] [act-order] [static] [asymmetric]`
//!
//! GROUP 0 is one scale per row. `RAYON_NUM_THREADS` sets the threads.
#![expect(clippy::print_stdout, reason = "printing figures is its purpose")]

use quantizers::grid::Grid;
use quantizers::methods::gptq::{Compensation, Feedback};
use quantizers::{FloatType, Granularity, MatrixRef, QuantizedTensor, Uniform, error_metrics};
use std::error::Error;
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let path = args.first().ok_or("expected a safetensors file")?;
    let number = |at: usize, default: usize| args.get(at).map_or(Ok(default), |n| n.parse());
    let (bits, group) = (u8::try_from(number(1, 4)?)?, number(2, 128)?);
    let has = |word: &str| args.iter().any(|arg| arg == word);
    let bytes = fs_err::read(path)?;
    let file = safetensors::SafeTensors::deserialize(&bytes)?;
    let floats = |name: &str| -> Result<Vec<f32>, Box<dyn Error>> {
        let bytes = file.tensor(name)?.data().chunks_exact(4);
        Ok(bytes
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect())
    };
    let (weight, hessian) = (floats("weight")?, floats("h")?);
    let cols = file.tensor("weight")?.shape()[1];
    let weight = MatrixRef::new(&weight, weight.len() / cols, cols)?;
    let hessian = MatrixRef::new(&hessian, cols, cols)?;
    let grid = Grid {
        bits,
        symmetric: !has("asymmetric"),
        scale_type: FloatType::F32,
        arithmetic: FloatType::F32,
    };
    let granularity = match group {
        0 => Granularity::Channel,
        size => Granularity::Group(size),
    };
    let compensation = Compensation {
        damping: 0.01,
        act_order: has("act-order"),
        static_groups: has("static"),
        block_size: 128,
    };
    let clock = cpu_seconds();
    Feedback::new(hessian, compensation.damping, compensation.act_order)?;
    let factor = cpu_seconds() - clock;
    let (clock, cpu) = (Instant::now(), cpu_seconds());
    let found = compensation.quantize(grid, granularity, weight, hessian)?;
    let (seconds, cpu) = (clock.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    let error = |uniform: Uniform| -> Result<f64, Box<dyn Error>> {
        let tensor = QuantizedTensor {
            rows: weight.rows(),
            cols,
            encoding: quantizers::Encoding::Uniform(uniform),
            outliers: None,
        };
        let decoded = tensor.dequantize();
        let decoded = MatrixRef::new(&decoded, weight.rows(), cols)?;
        Ok(error_metrics::Deviation::of_outputs(weight, decoded, hessian).relative())
    };
    let rounded = error(grid.quantize(weight, granularity))?;
    println!(
        "{bits} bits, groups of {group}: {seconds:.3} s ({cpu:.2} s of CPU), of which \
         {factor:.2} s for the factor; relative error {:.9}, round to nearest {rounded:.9}; damping {}, {} dead inputs",
        error(found.uniform)?,
        found.damping,
        found.dead
    );
    Ok(())
}

/// CPU time of this process so far, where the system tells (Linux, in hundredths); cores may be shared.
fn cpu_seconds() -> f64 {
    let stat = fs_err::read_to_string("/proc/self/stat").unwrap_or_default();
    let times = stat.rsplit(')').next().unwrap_or_default().split(' ');
    let ticks = times
        .skip(12)
        .take(2)
        .map(|time| time.parse::<f64>().unwrap_or(f64::NAN));
    ticks.sum::<f64>() / 100.0
}
