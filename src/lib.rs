//! The command line of quench: words and glue, no numerics.
//!
//! What was typed is in [`args`], what a person asked for in [`recipe`], what will be done in
//! [`plan`]; [`commands`] has one file per subcommand and [`road`] one per stage of the road.

pub mod args;
mod cache;
pub mod commands;
pub mod ending;
pub mod errors;
pub mod machine;
pub mod model;
pub mod road;
pub mod plan;
pub mod progress;
pub mod recipe;
pub mod search;
#[cfg(feature = "serve")]
pub mod serve;

pub use ending::ExitCode;
pub use errors::Error;

use args::{Cli, Command};
use progress::Progress;

/// Carries out a parsed command line.
///
/// # Errors
/// What the command ends with; [`Error::exit_code`] is the exit code of the program.
pub fn run(cli: Cli) -> Result<(), Error> {
    let progress = Progress::new(&cli.console);
    let json = cli.console.json;
    match cli.command {
        Command::Quantize(args) => commands::quantize::run(&args, json, &progress),
        Command::Plan(args) => commands::plan::run(&args, json, &progress),
        Command::Measure(args) => commands::measure::run(&args, json, &progress),
        Command::Search(args) => commands::search::run(&args, json, &progress),
        Command::Cache(args) => commands::cache::run(&args, json, &progress),
        Command::Eval(args) => commands::eval::run(&args, json, &progress),
        Command::Generate(args) => commands::generate::run(&args, json, &progress),
        #[cfg(feature = "serve")]
        Command::Serve(args) => commands::serve::run(&args, json, &progress),
        Command::Export(args) => commands::export::run(&args, json, &progress),
        Command::Inspect(args) => commands::inspect::run(&args, json, &progress),
        Command::Report(args) => commands::report::run(&args, json),
        Command::List(args) => commands::list::run(&args, json),
    }
}
