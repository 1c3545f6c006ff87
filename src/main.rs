//! The program `quench`: parses the command line and turns what it ends with into an exit code.

use clap::Parser;
use quench::args::Cli;
use quench::ending::{self, Ending};
use quench::{ExitCode, progress};
use std::io::Write;

fn main() -> std::process::ExitCode {
    calib::heap::keep_freed_memory();
    ending::install_panic_hook();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return std::process::ExitCode::from(refused(&error) as u8),
    };
    ending::configure(&cli.console);
    if let Err(error) = progress::interrupt::install() {
        let _ = writeln!(
            std::io::stderr().lock(),
            "warning: {error}: Ctrl-C stops without clean-up"
        );
    }
    let ended = std::panic::catch_unwind(|| quench::run(cli));
    let code = match ended {
        Ok(Ok(())) => ExitCode::Done,
        Ok(Err(error)) => {
            let ending = error.ending();
            ending.print();
            ending.code
        }
        // The hook has said it.
        Err(_) => ExitCode::Bug,
    };
    std::process::ExitCode::from(code as u8)
}

/// Help, the version, or a command line that cannot be understood.
fn refused(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        let _ = error.print();
        return ExitCode::Done;
    }
    if std::env::args_os().any(|word| word == "--json") {
        ending::print_json_results();
        let text = error.render().to_string();
        let mut parts = text.trim().split("\n\n");
        let message = parts.next().unwrap_or_default();
        Ending {
            message: message.trim_start_matches("error: ").to_owned(),
            causes: Vec::new(),
            hint: Some("`quench --help` says what there is".to_owned()),
            code: ExitCode::Usage,
        }
        .print();
    } else {
        let _ = error.print();
    }
    ExitCode::Usage
}
