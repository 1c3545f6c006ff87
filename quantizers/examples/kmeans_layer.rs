//! Times the exact weighted k-means on one layer stored as safetensors (`weight` and `fisher`, f32,
//! `[rows, cols]`) and checks nothing but itself:
//! `cargo run --release --example kmeans_layer -- FILE [ROWS] [BITS,BITS..] [ERRORS]`
//!
//! Prints per width: wall and CPU milliseconds per row (one thread, codebook only), the weighted squared error
//! of all rows with every weight at its nearest centroid before rounding, and run costs evaluated
//! per weight. ERRORS names a file for the error of each row (f64, one width after the other).
#![expect(clippy::print_stdout, reason = "printing figures is its purpose")]

use quantizers::codebook::{Row, Solver};
use std::error::Error;
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let path = args.next().ok_or("expected a safetensors file")?;
    let limit = args.next().map_or(Ok(256), |rows| rows.parse())?;
    let bits = args.next().unwrap_or_else(|| "2,3,4".into());
    let dump = args.next();
    let mut errors: Vec<f64> = Vec::new();
    let bytes = fs_err::read(path)?;
    let file = safetensors::SafeTensors::deserialize(&bytes)?;
    let floats = |name: &str| -> Result<Vec<f32>, Box<dyn Error>> {
        let bytes = file.tensor(name)?.data().chunks_exact(4);
        Ok(bytes
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect())
    };
    let (weight, fisher) = (floats("weight")?, floats("fisher")?);
    let cols = file.tensor("weight")?.shape()[1];
    let rows: Vec<Row<'_>> = weight
        .chunks(cols)
        .zip(fisher.chunks(cols))
        .take(limit)
        .map(|(values, weights)| Row {
            values,
            weights: Some(weights),
            removed: None,
        })
        .collect();
    for bits in bits.split(',') {
        let entries = 1 << bits.parse::<u32>()?;
        let mut solver = Solver::default();
        solver.solve(rows[0], entries);
        let mut centroids = Vec::with_capacity(rows.len() * entries);
        let (warm, clock, cpu) = (solver.evaluations(), Instant::now(), cpu_seconds());
        for row in &rows {
            centroids.push(solver.solve(*row, entries).centroids.to_vec());
        }
        let count = rows.len() as f64;
        let wall = clock.elapsed().as_secs_f64() / count * 1e3;
        let cpu = (cpu_seconds() - cpu) / count * 1e3;
        let evaluations = (solver.evaluations() - warm) as f64 / (count * cols as f64);
        let first = errors.len();
        errors.extend(
            rows.iter()
                .zip(&centroids)
                .map(|(row, c)| squared_error(*row, c)),
        );
        let error: f64 = errors[first..].iter().sum();
        println!(
            "bits {bits}: {wall:.4} ms/row wall, {cpu:.4} ms/row cpu, weighted error {error:.15e}, \
             {evaluations:.2} evaluations per weight"
        );
    }
    if let Some(dump) = dump {
        let bytes: Vec<u8> = errors
            .iter()
            .flat_map(|error| error.to_le_bytes())
            .collect();
        fs_err::write(dump, bytes)?;
    }
    Ok(())
}

/// Weighted squared error of `row` with every value at its nearest centroid.
fn squared_error(row: Row<'_>, centroids: &[f64]) -> f64 {
    let weights = row.weights.unwrap_or_default();
    let terms = row.values.iter().zip(weights).map(|(&value, &weight)| {
        let value = f64::from(value);
        let after = centroids.partition_point(|c| *c < value);
        let near = &centroids[after.saturating_sub(1)..(after + 1).min(centroids.len())];
        let error = near
            .iter()
            .map(|c| (c - value).powi(2))
            .fold(f64::INFINITY, f64::min);
        f64::from(weight) * error
    });
    terms.sum()
}

/// CPU time of this process so far, where the system tells (Linux); cores may be shared.
fn cpu_seconds() -> f64 {
    let times = fs_err::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let nanoseconds = times
        .split(' ')
        .next()
        .and_then(|time| time.parse::<f64>().ok());
    nanoseconds.unwrap_or(f64::NAN) * 1e-9
}
