//! Times HQQ on one layer stored as safetensors (`weight` f32 `[rows, cols]`) and prints its error:
//! `cargo run --release --example hqq_layer -- FILE [BITS] [GROUP]`
//!
//! `RAYON_NUM_THREADS` sets the threads.
#![expect(clippy::print_stdout, reason = "printing figures is its purpose")]

use quantizers::{FloatType, LayerStats, METHODS, MatrixRef};
use std::error::Error;
use std::time::Instant;

/// What the method makes small: the sum of errors to this power.
const POWER: f64 = 0.7;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let path = args.first().ok_or("expected a safetensors file")?;
    let word = |at: usize, default: &str| args.get(at).map_or(default, |word| word).to_owned();
    let bytes = fs_err::read(path)?;
    let file = safetensors::SafeTensors::deserialize(&bytes)?;
    let tensor = file.tensor("weight")?;
    let (words, _) = tensor.data().as_chunks::<4>();
    let values: Vec<f32> = words.iter().map(|word| f32::from_le_bytes(*word)).collect();
    let (rows, cols) = (tensor.shape()[0], tensor.shape()[1]);
    let weight = MatrixRef::new(&values, rows, cols)?;
    let rule = format!("bits = {}\ngroup_size = {}", word(1, "4"), word(2, "64"));
    let hqq = METHODS.iter().find(|method| method.name() == "hqq");
    let hqq = hqq.ok_or("no such method")?.configure(&rule.parse()?)?;
    let plan = hqq.plan(rows, cols, FloatType::F32)?;
    for _ in 0..3 {
        let start = Instant::now();
        let quantized = hqq.quantize(weight, &plan, &LayerStats::default())?;
        let seconds = start.elapsed().as_secs_f64();
        let decoded = quantized.tensor.dequantize();
        let pairs = values.iter().zip(&decoded);
        let errors = pairs.map(|(a, b)| f64::from(a - b).abs());
        let loss = errors.map(|error| error.powf(POWER)).sum::<f64>() / values.len() as f64;
        println!("{seconds:.3} s, mean of |error|^{POWER} {loss:.6e}");
    }
    Ok(())
}
