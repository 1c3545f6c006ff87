//! Commands that run a model many times: what each layer can become, and configurations of a recipe.

use super::values::{parse_count, sensitivities};
use super::{EvaluationArgs, MachineArgs, RecipeArgs, SourceArgs};
use clap::Args;
use std::path::PathBuf;

/// `quench measure`.
#[derive(Debug, Args)]
#[command(after_help = "\
Options are what the recipe leaves to its budget (`bits = \"auto\"`, `[[budget.option]]`); of a
recipe that leaves nothing, the widths from 2 to 8 that each rule's method has. All of them are
measured on the original weights. The file serves any budget; `kl` runs the model once for each
option of each layer, so give it few samples.")]
pub struct MeasureArgs {
    /// A folder, `org/name[@revision]` on the Hub, or `demo`
    #[arg(default_value = "demo")]
    pub model: String,
    /// The file to write
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Replace the file
    #[arg(long)]
    pub force: bool,
    /// Which scores are found, with commas between them [default: the recipe's, else fisher]
    #[arg(long, value_name = "KINDS", value_delimiter = ',', value_parser = sensitivities())]
    pub sensitivity: Vec<String>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become help text")]
    pub recipe: RecipeArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become help text")]
    pub source: SourceArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become help text")]
    pub machine: MachineArgs,
}

/// `quench search`.
#[derive(Debug, Args)]
#[command(after_help = "\
Each configuration is quantized and evaluated for real; gradient-boosted trees learn from what has been
measured which one to try next (Quantune). A search that was interrupted goes on where it was left, and
`--evaluations 1000000` measures all and says how many measurements trees, chance and grid order need.")]
pub struct SearchArgs {
    /// A folder, `org/name[@revision]` on the Hub, or `demo`
    pub model: String,
    /// What is chosen among: a file, `q4-decoders` or `int8-encoders` [default: by kind of model]
    #[arg(long, value_name = "SPACE")]
    pub space: Option<String>,
    /// Configurations to measure [default: a quarter of the space]
    #[arg(long, value_parser = parse_count, value_name = "N")]
    pub evaluations: Option<usize>,
    /// The figure that is to be best [default: the first of the evaluation]
    #[arg(long, value_name = "METRIC")]
    pub metric: Option<String>,
    /// The folder of a search of another model in the same space; repeatable
    #[arg(long, value_name = "DIR")]
    pub learn_from: Vec<PathBuf>,
    /// The folder of the search, which goes on if it was begun [default: quench-out/MODEL-SPACE]
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become help text")]
    pub recipe: RecipeArgs,
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
