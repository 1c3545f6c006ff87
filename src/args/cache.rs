//! `quench cache`.

use super::values::{parse_count, parse_memory};
use super::{MachineArgs, SourceArgs};
use clap::Args;
use std::path::PathBuf;

/// The method that stands for every one.
pub const ALL: &str = "all";

/// `quench cache`.
#[derive(Debug, Args)]
#[command(after_help = "\
A method is a name of `quench list caches`, with parameters behind it where they are not the defaults:
`--method \"kivi bits=2 group=32\"`. Without one, every method is tried with its usual settings. The
text is cut in windows: methods are fitted on the first ones and judged on the others. Perplexity is
given twice where a method keeps the newest tokens exact: with every token quantized (the worst case)
and as it is in use.")]
pub struct CacheArgs {
    /// A folder, `org/name[@revision]` on the Hub, or `demo`
    #[arg(default_value = "demo")]
    pub model: String,
    /// A way of keeping keys and values, or of attending to them, with its parameters; repeatable; `all` is every one
    #[arg(long = "method", alias = "methods", value_name = "METHOD", default_value = ALL, hide_default_value = true)]
    pub methods: Vec<String>,
    /// Text: a file, `hub:repo/file#column` or `synthetic`
    #[arg(long = "calib", value_name = "SRC", default_value = "synthetic")]
    pub calibration: String,
    /// Windows the methods are judged on
    #[arg(long, value_parser = parse_count, value_name = "N", default_value = "8")]
    pub samples: usize,
    /// Windows the methods are fitted on
    #[arg(long, value_parser = parse_count, value_name = "N", default_value = "4")]
    pub fitting_samples: usize,
    /// Tokens of a window [default: 1024, or what the model takes]
    #[arg(long, value_parser = parse_count, value_name = "N")]
    pub sequence_length: Option<usize>,
    /// Memory for the cache of one text, such as 24GiB: says how long it may be
    #[arg(long, value_parser = parse_memory, value_name = "SIZE")]
    pub memory: Option<u64>,
    /// Blocks that keep their cache as it is, with commas between their numbers
    #[arg(long, value_name = "BLOCKS", value_delimiter = ',')]
    pub skip_layers: Vec<usize>,
    /// Texts that hide something, at depths of up to half and all of a window: passkey, needle, multi-key, variables or
    /// all; repeatable. Says which answers are still found
    #[arg(long, value_name = "KIND")]
    pub retrieval: Vec<String>,
    /// Such texts for each length and depth
    #[arg(long, value_parser = parse_count, value_name = "N", default_value = "4")]
    pub retrieval_samples: usize,
    /// Seeds that methods which draw are tried with, each a line of its own
    #[arg(long, value_parser = parse_count, value_name = "N", default_value = "1")]
    pub seeds: usize,
    /// Seed of everything else that is random
    #[arg(long, default_value = "0")]
    pub seed: u64,
    /// Folder for the figures by block, as JSON
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become help text")]
    pub source: SourceArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become help text")]
    pub machine: MachineArgs,
}
