//! What was typed. Nothing here is resolved: see [`crate::recipe`] and [`crate::plan`] for meaning.

mod cache;
mod generate;
mod many;
#[cfg(feature = "serve")]
mod serve;
mod values;

pub use cache::{ALL, CacheArgs};
pub use generate::{GenerateArgs, SamplingArgs, SpeedTest};
pub use many::{MeasureArgs, SearchArgs};
#[cfg(feature = "serve")]
pub use serve::ServeArgs;

use crate::machine::DeviceChoice;
use clap::builder::TypedValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use eval::gate::Gate;
use quantizers::kernels::Compute;
use std::path::PathBuf;
use values::{
    computes, formats, formats_or_auto, methods, parse_budget, parse_count, parse_gate,
    parse_share, sensitivities,
};

/// Shrinks a trained checkpoint and proves what it cost.
#[derive(Debug, Parser)]
#[command(name = "quench", version, about)]
#[command(after_help = "\
Exit codes:
  0 done                                      4 download, authentication or disk
  1 a bug                                     5 not enough memory
  2 bad usage                                 6 accuracy gate failed
  3 recipe, pattern and model do not fit      7 verification of the written files failed
  130 interrupted")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// How output is written.
    #[command(flatten)]
    pub console: ConsoleArgs,
}

/// Flags every command takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Output")]
pub struct ConsoleArgs {
    /// How progress is shown on stderr
    #[arg(long, global = true, value_enum, default_value_t = ProgressMode::Auto)]
    pub progress: ProgressMode,
    /// Print more detail on stderr
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    pub verbose: bool,
    /// Print nothing on stderr but warnings and errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Print the result as JSON on stdout
    #[arg(long, global = true)]
    pub json: bool,
}

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProgressMode {
    /// Bars on a terminal, plain lines otherwise
    Auto,
    /// One line per event
    Plain,
    /// One JSON object per event
    Json,
    /// Nothing
    None,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Quantize a checkpoint, evaluate the files written and report the difference
    Quantize(QuantizeArgs),
    /// Show what a recipe would do to a model; reads headers only
    Plan(PlanArgs),
    /// Score what each layer can become, once for any budget of bits
    Measure(MeasureArgs),
    /// Find the configuration of a recipe that loses least, with few measurements
    Search(SearchArgs),
    /// Show what each way of shrinking the cache of keys and values costs a model
    Cache(CacheArgs),
    /// Evaluate a checkpoint or a quantized folder
    Eval(EvalArgs),
    /// Continue a text or hold a conversation with a checkpoint or a quantized folder
    Generate(GenerateArgs),
    /// Answer requests over HTTP with a checkpoint or a quantized folder
    #[cfg(feature = "serve")]
    Serve(ServeArgs),
    /// Write a quantized folder in another format
    Export(ExportArgs),
    /// Show the tensors of a checkpoint or quantized folder, or one of them closely
    Inspect(InspectArgs),
    /// Render the report of a quantized folder again
    Report(ReportArgs),
    /// List what quench knows
    List(ListArgs),
}

/// Where a model comes from.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Model")]
pub struct SourceArgs {
    /// Branch, tag or commit of a Hub model (the same as `org/name@revision`)
    #[arg(long, value_name = "REVISION")]
    pub revision: Option<String>,
    /// Use only what is already downloaded
    #[arg(long)]
    pub offline: bool,
}

/// Which recipe, and what to change in it.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Recipe")]
pub struct RecipeArgs {
    /// A recipe file or the name of a built-in recipe
    #[arg(short, long, value_name = "RECIPE")]
    pub recipe: Option<String>,
    /// Width of one code, in every rule of the recipe
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=8))]
    pub bits: Option<u8>,
    /// Quantization method, in every rule of the recipe; without a recipe, the only rule
    #[arg(long, value_parser = methods())]
    pub method: Option<String>,
    /// Format of the output; `auto` is compressed-tensors if every layer fits it, else quench
    #[arg(long, value_parser = formats_or_auto())]
    pub format: Option<String>,
    /// Calibrate on this data: a file, `hub:repo/file#column` or `synthetic`
    #[arg(long = "calib", value_name = "SRC")]
    pub calibration: Option<String>,
    /// Calibration sequences or images
    #[arg(long, value_parser = parse_count, value_name = "N")]
    pub samples: Option<usize>,
    /// Tokens of one calibration sequence
    #[arg(long, value_parser = parse_count, value_name = "N")]
    pub sequence_length: Option<usize>,
    /// Seed of everything random
    #[arg(long)]
    pub seed: Option<u64>,
    /// Keep the statistics of the calibration data in the cache folder, for a later run to use
    #[arg(long)]
    pub keep_statistics: bool,
}

/// How many bits the layers may take together, and what is known of them.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Budget")]
pub struct BudgetArgs {
    /// Bits per weight, which layers are given where they help most; leaves the width of every rule open unless a
    /// rule says `auto`
    #[arg(long, value_name = "BITS", value_parser = parse_budget, conflicts_with = "bits")]
    pub budget: Option<f64>,
    /// Scores that `quench measure` wrote
    #[arg(long, value_name = "FILE")]
    pub measured: Option<String>,
    /// Which scores are added up [default: the recipe's, else fisher]
    #[arg(long, value_name = "KIND", value_parser = sensitivities())]
    pub sensitivity: Option<String>,
}

/// Where the work is done.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Machine")]
pub struct MachineArgs {
    /// `cpu`, `cuda` or `cuda:N`
    #[arg(long, default_value = "cpu")]
    pub device: DeviceChoice,
    /// Worker threads [default: all cores]
    #[arg(long, value_parser = parse_count, value_name = "N")]
    pub threads: Option<usize>,
}

/// What is evaluated and what must hold.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Evaluation")]
pub struct EvaluationArgs {
    /// Evaluate on this data instead: a file, `hub:repo/file#column` or `synthetic`
    #[arg(long, value_name = "SRC")]
    pub eval_data: Option<String>,
    /// A bound such as `perplexity_ratio<=1.03`; repeatable, missing it is exit code 6
    #[arg(long, value_name = "GATE", value_parser = parse_gate)]
    pub gate: Vec<Gate>,
}

/// `quench quantize`.
#[derive(Debug, Args)]
#[command(after_help = "\
Without a MODEL the program quantizes the small model it carries, offline, in under a minute
(recipe squeeze-3-sparse). Without a recipe, decoders take q4 and encoders int8-integer-only,
which turns them into programs of integers; name data like the model's own with --calib.
Without evaluation data, decoders are evaluated on text sampled from the original model; other
models are not evaluated, and the report says so.")]
pub struct QuantizeArgs {
    /// A folder, `org/name[@revision]` on the Hub, or `demo`
    #[arg(default_value = "demo")]
    pub model: String,
    /// Output folder [default: quench-out/MODEL-RECIPE]
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Replace an output folder that quench wrote
    #[arg(long)]
    pub force: bool,
    /// Replace an output folder whoever wrote it
    #[arg(long)]
    pub force_foreign: bool,
    /// Write the files and their sizes, but measure no accuracy
    #[arg(long, conflicts_with_all = ["eval_data", "gate"])]
    pub no_eval: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become help text")]
    pub recipe: RecipeArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become help text")]
    pub budget: BudgetArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become help text")]
    pub evaluation: EvaluationArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become help text")]
    pub source: SourceArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become help text")]
    pub machine: MachineArgs,
}

/// `quench plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// A folder, `org/name[@revision]` on the Hub, or `demo`
    #[arg(default_value = "demo")]
    pub model: String,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become help text")]
    pub recipe: RecipeArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become help text")]
    pub budget: BudgetArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become help text")]
    pub evaluation: EvaluationArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become help text")]
    pub source: SourceArgs,
    /// Threads the time estimate assumes [default: all cores]
    #[arg(long, value_parser = parse_count, value_name = "N", help_heading = "Machine")]
    pub threads: Option<usize>,
}

/// `quench eval`.
#[derive(Debug, Args)]
pub struct EvalArgs {
    /// A checkpoint (folder, `org/name[@revision]`, `demo`) or a quantized folder
    pub model: String,
    /// The original to compare with [default: the one a quantized folder names, if it is there]
    #[arg(long, value_name = "MODEL")]
    pub baseline: Option<String>,
    /// Compare with an encoder whose blocks compute only this share of the tokens, chosen by its own attention
    #[arg(long, value_parser = parse_share, value_name = "SHARE")]
    pub keep_tokens: Option<f64>,
    /// A recipe whose `[[evaluate]]` tables and `[gate]` say what to run; it needs no `[[layers]]`
    #[arg(short, long, value_name = "RECIPE")]
    pub recipe: Option<String>,
    /// Write the report into this folder as well
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Replace an output folder that quench wrote
    #[arg(long, requires = "output")]
    pub force: bool,
    /// Replace an output folder whoever wrote it
    #[arg(long, requires = "output")]
    pub force_foreign: bool,
    /// Seed of sampled evaluation data and of the intervals
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Run on packed weights, as `generate` and `serve` multiply them token by token; the baseline stays decoded
    #[arg(long, value_name = "HOW", conflicts_with = "keep_tokens", value_parser = computes().try_map(|name| name.parse::<Compute>()))]
    pub compute: Option<Compute>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become help text")]
    pub evaluation: EvaluationArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become help text")]
    pub source: SourceArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become help text")]
    pub machine: MachineArgs,
}

/// `quench export`.
#[derive(Debug, Args)]
#[command(after_help = "\
An integer-only folder cannot be exported: its embeddings, normalisations and biases exist as
tables of its integer program, no longer as floats. ONNX is not among the formats.")]
pub struct ExportArgs {
    /// A quantized folder
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
    /// The format to write
    #[arg(long, value_parser = formats())]
    pub format: String,
    /// Type of the weights in `dense` [default: f32, which is exact]
    #[arg(long, value_enum)]
    pub dtype: Option<DtypeChoice>,
    /// The folder to write
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
    /// Replace a folder that quench wrote
    #[arg(long)]
    pub force: bool,
    /// Replace a folder whoever wrote it
    #[arg(long)]
    pub force_foreign: bool,
}

/// Float types a dense export can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DtypeChoice {
    /// bfloat16
    Bf16,
    /// 16-bit IEEE
    F16,
    /// 32-bit IEEE
    F32,
}

/// `quench inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// A checkpoint (folder, `org/name[@revision]`, `demo`) or a quantized folder
    pub model: String,
    /// One tensor or layer to look at closely
    pub tensor: Option<String>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become help text")]
    pub source: SourceArgs,
}

/// `quench report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// A folder with a report.json; several of one model are compared in one table
    #[arg(value_name = "FOLDER", required = true)]
    pub folders: Vec<PathBuf>,
    /// Write the report into this folder instead of the one it was read from; a comparison is written only there
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Replace an output folder that quench wrote
    #[arg(long, requires = "output")]
    pub force: bool,
    /// Replace an output folder whoever wrote it
    #[arg(long, requires = "output")]
    pub force_foreign: bool,
}

/// `quench list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// What to list; everything without it
    #[arg(value_enum)]
    pub what: Option<Listing>,
    /// One recipe to print, after `recipes`
    pub name: Option<String>,
}

/// Registries that can be listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Listing {
    /// Quantization methods and their parameters
    Methods,
    /// Transforms of a block before it is quantized, and their parameters
    Transforms,
    /// Ways of keeping keys and values in fewer bits, and their parameters
    Caches,
    /// Ways of attending to fewer keys, and their parameters
    Attentions,
    /// Integer approximations of nonlinear functions
    Approximations,
    /// Model families
    Architectures,
    /// Output formats
    Formats,
    /// Evaluation tasks
    Tasks,
    /// Data sources
    Data,
    /// Built-in recipes, or the text of one
    Recipes,
    /// The recipe language: every section, key, value and gate figure
    Recipe,
}
