//! One file per subcommand.

mod demo;
pub mod eval;
pub mod export;
pub mod inspect;
mod integer_weights;
pub mod list;
mod open;
pub mod plan;
pub mod quantize;
mod recipes;
pub mod report;
mod resources;
mod summary;
mod threads;

pub use open::OpenModel;

use crate::Error;
use ::eval::report::Report;
use std::io::Write;
use std::path::Path;

/// Writes a result to stdout; a reader that went away is no error.
fn print(text: &str) -> Result<(), Error> {
    let mut stdout = std::io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::io("cannot write to stdout", error))
        }
        _ => Ok(()),
    }
}

/// Writes a result to stdout as JSON.
fn print_json(value: &impl serde::Serialize) -> Result<(), Error> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Error::Bug {
        message: "cannot write the result as JSON".to_owned(),
        source: Some(error.into()),
    })?;
    print(&(text + "\n"))
}

/// The failed gates of a finished run, as the error the program ends with.
fn check_gates(report: &Report, output: Option<&Path>) -> Result<(), Error> {
    let failed: Vec<String> = report
        .gates
        .iter()
        .filter(|gate| !gate.passed)
        .map(|gate| match gate.found {
            Some(found) => format!("`{}`, found {found:.5}", gate.gate),
            None => format!("`{}`, not measured", gate.gate),
        })
        .collect();
    if failed.is_empty() {
        return Ok(());
    }
    Err(Error::Gate {
        failed,
        output: output.map(Path::to_owned),
    })
}

/// The command as typed, words quoted where a shell needs it.
fn command_line() -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:@,+%".contains(c);
    let words = std::env::args().skip(1).map(|word| {
        if !word.is_empty() && word.chars().all(plain) {
            word
        } else {
            format!("'{}'", word.replace('\'', "'\\''"))
        }
    });
    std::iter::once("quench".to_owned())
        .chain(words)
        .collect::<Vec<_>>()
        .join(" ")
}
