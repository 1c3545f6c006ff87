//! One file per subcommand.

mod demo;
pub mod eval;
pub mod export;
pub mod inspect;
pub mod list;
mod open;
pub mod plan;
pub mod quantize;
mod recipes;
pub mod report;
mod threads;

pub use open::OpenModel;

use crate::Error;
use std::io::Write;

/// Writes a result to stdout; a reader that went away is no error.
fn print(text: &str) -> Result<(), Error> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
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
