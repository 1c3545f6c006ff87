//! Tokens per second and peak memory of a forward pass, or of a streamed Fisher pass.
//!
//! ```text
//! cargo run --release -p calib --example forward_bench -- CHECKPOINT [--mode forward|train]
//!     [--batch 4] [--tokens 512] [--threads 1] [--repeat 3] [--tapes 1024]
//! ```
//! Prints one JSON line. `forward` includes every logit (or the last hidden states); `train` is the
//! forward pass, the backward pass and the squared gradients of every linear layer in the blocks, which
//! may keep `--tapes` MiB of tapes (0: every block is run twice).

#![expect(
    clippy::print_stdout,
    reason = "the figures are what this program is for"
)]

use burn::tensor::{Device, Int, Tensor, TensorData};
use calib::running::fisher::{FisherOptions, Sequence, collect_fisher};
use calib::running::measured::Wants;
use calib::running::stats_store::{Key, StatsStore};
use calib::{Checkpoint, Forward, Hidden, NoTap, open_model};
use quantizers::statistics::FISHER;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

struct Options {
    checkpoint: PathBuf,
    mode: String,
    batch: usize,
    tokens: usize,
    threads: usize,
    repeat: usize,
    tapes: u64,
}

impl Options {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let mut options = Self {
            checkpoint: words.next().ok_or("no checkpoint folder given")?.into(),
            mode: "forward".to_owned(),
            batch: 4,
            tokens: 512,
            threads: 1,
            repeat: 3,
            tapes: 1024,
        };
        while let Some(flag) = words.next() {
            let value = words.next().ok_or_else(|| format!("no value for {flag}"))?;
            match flag.as_str() {
                "--mode" => options.mode = value,
                "--batch" => options.batch = value.parse()?,
                "--tokens" => options.tokens = value.parse()?,
                "--threads" => options.threads = value.parse()?,
                "--repeat" => options.repeat = value.parse()?,
                "--tapes" => options.tapes = value.parse()?,
                _ => return Err(format!("unknown flag {flag}").into()),
            }
        }
        Ok(options)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    calib::heap::keep_freed_memory();
    let options = Options::parse(std::env::args().skip(1))?;
    rayon::ThreadPoolBuilder::new()
        .num_threads(options.threads)
        .build_global()?;
    let checkpoint = Checkpoint::open(&options.checkpoint)?;
    let model = open_model(checkpoint.config(), &checkpoint)?;
    let forward = Forward::new(model.as_ref(), &checkpoint, Device::flex());
    let vocabulary = model.vocabulary().ok_or("not a text model")?;
    let mut random = ChaCha8Rng::seed_from_u64(0);
    let sequences: Vec<Vec<u32>> = (0..options.batch)
        .map(|_| {
            let draw = |_| random.random_range(0..u32::try_from(vocabulary).unwrap_or(u32::MAX));
            (0..options.tokens).map(draw).collect()
        })
        .collect();

    let mut seconds = Vec::new();
    let mut check = 0.0;
    for _ in 0..=options.repeat {
        let start = Instant::now();
        check = match options.mode.as_str() {
            "forward" => run_forward(&forward, &sequences)?,
            "train" => run_train(&forward, &sequences, options.tapes)?,
            other => return Err(format!("unknown mode {other}").into()),
        };
        seconds.push(start.elapsed().as_secs_f64());
    }
    // The first pass warms up.
    seconds.remove(0);
    seconds.sort_by(f64::total_cmp);
    let median = seconds[seconds.len() / 2];
    let row = serde_json::json!({
        "task": options.mode,
        "seconds": median,
        "best": seconds[0],
        "tokens_per_s": (options.batch * options.tokens) as f64 / median,
        "peak_rss_mb": peak_mebibytes(),
        "threads": options.threads,
        "check": check,
    });
    println!("{row}");
    Ok(())
}

/// Mean absolute value of the output.
fn run_forward(forward: &Forward<'_>, sequences: &[Vec<u32>]) -> Result<f64, Box<dyn Error>> {
    use rayon::prelude::*;
    let batches = sequences.iter().map(|tokens| hidden(tokens)).collect();
    let states = forward.before_head(batches)?;
    let head = forward.model().stages() - 1;
    let means = forward.with_stage(head, |stage| {
        states
            .into_par_iter()
            .map(|states| match stage.forward(states, &mut NoTap)? {
                Hidden::States(out) => Ok(f64::from(out.abs().mean().into_scalar::<f32>())),
                _ => Ok(0.0),
            })
            .collect::<Result<Vec<f64>, calib::StageError>>()
    })??;
    Ok(means.iter().sum::<f64>() / means.len() as f64)
}

/// Mean loss.
fn run_train(
    forward: &Forward<'_>,
    sequences: &[Vec<u32>],
    tapes: u64,
) -> Result<f64, Box<dyn Error>> {
    let scratch = tempfile::tempdir()?;
    let store = StatsStore::open(scratch.path(), &Key::default())?;
    let mut wants = Wants::default();
    let in_block = |layer: &&calib::LayerSpec| layer.in_block;
    for layer in forward.model().layers().iter().filter(in_block) {
        wants.layer(layer, &FISHER);
    }
    let options = FisherOptions {
        wants,
        seed: 0,
        memory_bytes: 1 << 30,
        tape_bytes: tapes << 20,
        scratch: scratch.path().to_owned(),
    };
    let sequences: Vec<Sequence> = sequences
        .iter()
        .map(|tokens| Sequence {
            input: hidden(tokens),
            tokens: tokens.clone(),
        })
        .collect();
    let losses = collect_fisher(forward, &sequences, &options, &store, &mut |_, _| {})?;
    Ok(losses.iter().sum::<f64>() / losses.len().max(1) as f64)
}

fn hidden(tokens: &[u32]) -> Hidden {
    let ids: Vec<i64> = tokens.iter().map(|id| i64::from(*id)).collect();
    let shape = [1, ids.len()];
    Hidden::Tokens(Tensor::<2, Int>::from_data(
        TensorData::new(ids, shape),
        &Device::flex(),
    ))
}

/// High-water mark of this process; 0 where the system does not tell.
fn peak_mebibytes() -> f64 {
    let status = fs_err::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|rest| {
            rest.trim()
                .trim_end_matches(" kB")
                .trim()
                .parse::<f64>()
                .ok()
        })
        .map_or(0.0, |kibibytes| kibibytes / 1024.0)
}
