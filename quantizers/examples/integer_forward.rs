//! Time of an integer program on made-up inputs, one thread, and where it goes.
//!
//! `integer_forward ARTIFACT [TOKENS] [BATCH]`: milliseconds for BATCH sequences of TOKENS tokens
//! (or images), fastest and median of many runs, then the share of each kind of operation.
#![expect(clippy::print_stdout, reason = "an example prints its table")]

use quantizers::formats::ArtifactReader;
use quantizers::integer::{Executor, Mode, ProgramInput};
use std::collections::BTreeMap;
use std::error::Error;
use std::time::Instant;

/// Runs that are timed.
const RUNS: usize = 40;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: usize| -> Result<usize, Box<dyn Error>> {
        Ok(arguments.get(at).map_or(Ok(default), |text| text.parse())?)
    };
    let folder = arguments.first().ok_or("name the folder of an artifact")?;
    let (tokens, batch) = (number(1, 128)?, number(2, 1)?);
    let program = ArtifactReader::open(folder)?.integer_program()?;
    let executor = Executor::new(program.ok_or("the artifact holds no integer program")?);
    let (ids, pixels) = match executor.program().input() {
        ProgramInput::Tokens { vocabulary, .. } => {
            let id = |at: usize| u32::try_from((at * 7919 + 1000) % vocabulary);
            (
                (0..tokens).map(id).collect::<Result<Vec<u32>, _>>()?,
                Vec::new(),
            )
        }
        ProgramInput::Pixels { image, .. } => {
            let count = image.iter().product::<usize>();
            let code = |at: usize| u8::try_from(at * 7919 % 256);
            (
                Vec::new(),
                (0..count).map(code).collect::<Result<Vec<u8>, _>>()?,
            )
        }
    };
    let mut times = Vec::with_capacity(RUNS);
    for _ in 0..RUNS + 3 {
        let start = Instant::now();
        for _ in 0..batch {
            executor.run(Mode::Fast, &ids, None, &pixels)?;
        }
        times.push(start.elapsed());
    }
    // The first runs warm caches.
    let mut times = times.split_off(3);
    times.sort_unstable();
    let milliseconds = |at: usize| times[at].as_secs_f64() * 1e3;
    println!(
        "batch {batch}: fastest {:.3} ms, median {:.3} ms",
        milliseconds(0),
        milliseconds(RUNS / 2)
    );
    let mut shares: BTreeMap<String, f64> = BTreeMap::new();
    for _ in 0..RUNS {
        let mut last = Instant::now();
        executor.observe(Mode::Fast, &ids, None, &pixels, &mut |at, _| {
            let operation = &executor.program().operations[at];
            let name = match operation.layers().first() {
                Some(layer) => {
                    let mut parts = layer.rsplit('.').take(2).collect::<Vec<_>>();
                    parts.reverse();
                    format!("{} {}", operation.kind(), parts.join("."))
                }
                None => operation.kind().to_owned(),
            };
            let share = last.elapsed().as_secs_f64() * 1e3 / RUNS as f64;
            *shares.entry(name).or_default() += share;
            last = Instant::now();
        })?;
    }
    for (name, share) in shares {
        println!("  {share:8.3} ms  {name}");
    }
    Ok(())
}
