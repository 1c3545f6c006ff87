//! How fast a model runs, in the words of llama-bench.

use super::super::{print, print_json};
use crate::Error;
use crate::args::{GenerateArgs, SpeedTest};
use crate::model::OpenModel;
use calib::generation::{GenerationError, Session};
use quantizers::kernels::kernel_name;
use serde_json::{Value, json};
use std::fmt::Write;
use std::time::Instant;

/// Runs the tests of `--bench` and prints tokens a second, mean and standard deviation.
pub(super) fn run(
    args: &GenerateArgs,
    open: &OpenModel,
    session: &mut Session,
    threads: usize,
    json: bool,
) -> Result<(), Error> {
    let size = open.artifact.reader().folder().file_bytes();
    let parameters = open.facts().parameters;
    let mut results = Vec::new();
    let mut table = String::from("| test | tokens a second |\n|---|---|\n");
    for test in &args.bench {
        let mut samples = Vec::new();
        for repetition in 0..=args.repetitions {
            let seconds = time(session, *test).map_err(|error| Error::Mismatch {
                message: format!("cannot run `{}`", name(*test)),
                source: Some(error.into()),
                hint: None,
            })?;
            // The first run reads the weights into the caches.
            if repetition > 0 {
                samples.push(seconds);
            }
        }
        let (prompt, generated) = match test {
            SpeedTest::Prompt(count) => (*count, 0),
            SpeedTest::Generation(count) => (0, *count),
        };
        let speeds: Vec<f64> = samples
            .iter()
            .map(|seconds| (prompt + generated) as f64 / seconds.max(1e-9))
            .collect();
        let (mean, deviation) = spread(&speeds);
        let _ = writeln!(table, "| {} | {mean:.2} ± {deviation:.2} |", name(*test));
        let nanoseconds: Vec<f64> = samples
            .iter()
            .map(|seconds| (seconds * 1e9).round())
            .collect();
        let (mean_ns, deviation_ns) = spread(&nanoseconds);
        results.push(json!({
            "model_filename": args.model,
            "model_size": size,
            "model_n_params": parameters,
            "n_threads": threads,
            "kernel": kernel_name(),
            "compute": args.compute.to_string(),
            "cache_type": args.cache_type.name(),
            "n_prompt": prompt,
            "n_gen": generated,
            "avg_ns": mean_ns,
            "stddev_ns": deviation_ns,
            "avg_ts": mean,
            "stddev_ts": deviation,
            "samples_ns": nanoseconds,
            "samples_ts": speeds,
        }));
    }
    if json {
        return print_json(&Value::Array(results));
    }
    print(&table)
}

fn name(test: SpeedTest) -> String {
    match test {
        SpeedTest::Prompt(count) => format!("pp{count}"),
        SpeedTest::Generation(count) => format!("tg{count}"),
    }
}

/// Seconds of one run from an empty memory, on tokens that are as good as any.
fn time(session: &mut Session, test: SpeedTest) -> Result<f64, GenerationError> {
    session.forget()?;
    let token = |at: usize| u32::try_from(at * 31 % 47 + 1).unwrap_or(1);
    match test {
        SpeedTest::Prompt(count) => {
            let tokens: Vec<u32> = (0..count).map(token).collect();
            let started = Instant::now();
            session.logits_after(&tokens)?;
            Ok(started.elapsed().as_secs_f64())
        }
        SpeedTest::Generation(count) => {
            let mut tokens = vec![token(0)];
            session.logits_after(&tokens)?;
            let started = Instant::now();
            for at in 1..=count {
                tokens.push(token(at));
                session.logits_after(&tokens)?;
            }
            Ok(started.elapsed().as_secs_f64())
        }
    }
}

/// Mean and standard deviation.
fn spread(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count.max(1.0);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (squares / (count - 1.0).max(1.0)).sqrt())
}
