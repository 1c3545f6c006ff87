//! The program `quench`: parses the command line and turns what it ends with into an exit code.

use clap::Parser;
use quench::ExitCode;
use quench::args::Cli;
use std::io::Write;

fn main() -> std::process::ExitCode {
    calib::heap::keep_freed_memory();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            let code = if error.use_stderr() {
                ExitCode::Usage
            } else {
                ExitCode::Done
            };
            return std::process::ExitCode::from(code as u8);
        }
    };
    if let Err(error) = quench::progress::interrupt::install() {
        let _ = writeln!(
            std::io::stderr().lock(),
            "warning: {error}: Ctrl-C stops without clean-up"
        );
    }
    let ended = std::panic::catch_unwind(|| quench::run(cli));
    let code = match ended {
        Ok(Ok(())) => ExitCode::Done,
        Ok(Err(error)) => {
            let _ = std::io::stderr()
                .lock()
                .write_all(error.render().as_bytes());
            error.exit_code()
        }
        // The panic message is already on stderr.
        Err(_) => ExitCode::Bug,
    };
    std::process::ExitCode::from(code as u8)
}
