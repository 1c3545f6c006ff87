//! One file per subcommand.

pub mod cache;
mod decoder;
pub mod eval;
pub mod export;
pub mod generate;
mod generation_config;
pub mod inspect;
pub mod list;
pub mod measure;
mod measured;
mod output;
pub mod plan;
pub mod quantize;
mod recipes;
pub mod report;
mod resources;
pub mod search;
#[cfg(feature = "serve")]
pub mod serve;
mod summary;

use crate::Error;
use crate::args::SourceArgs;
use crate::errors::Cause;
use ::eval::report::{self as reports, Report};
use calib::hub::FetchOptions;
use std::io::Write;
use std::path::Path;

/// How to reach the Hub.
fn fetch_options(source: &SourceArgs) -> FetchOptions {
    let mut options = FetchOptions::from_environment();
    options.offline |= source.offline;
    options
}

/// Writes the files of a report into a folder of its own.
fn write_report(report: &Report, output: &Path) -> Result<(), Error> {
    let failed = |error: Cause| {
        Error::io(
            format!("cannot write the report to `{}`", output.display()),
            error,
        )
    };
    fs_err::create_dir_all(output).map_err(|error| failed(error.into()))?;
    output::mark(output)?;
    reports::write(report, output).map_err(|error| failed(error.into()))
}

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
    let words = std::env::args_os().skip(1).map(|word| {
        // A report is text: bytes that are none show as such.
        let word = word.to_string_lossy().into_owned();
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
