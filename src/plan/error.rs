//! Why a recipe does not fit a model.

use crate::recipe::RecipeError;
use calib::data::DataError;
use quantizers::QuantizeError;
use quantizers::integer::compile::GraphError;
use thiserror::Error;

/// A recipe and a model that do not fit each other.
#[derive(Debug, Error)]
pub enum PlanError {
    /// Something reads what only a run of the model can show, and nobody knows how to run it.
    #[error("the architecture is unknown: nothing can be measured on it, and the recipe reads {}", reads.join(", "))]
    UnknownArchitecture {
        /// Statistics, or what else runs the model.
        reads: Vec<String>,
    },
    /// A pattern no layer has.
    #[error("line {line}: pattern `{pattern}` {} no linear layer", if shadowed_by.is_some() { "decides" } else { "matches" })]
    NoMatch {
        /// Line of the rule.
        line: usize,
        /// The pattern.
        pattern: String,
        /// The nearest layer names.
        nearest: Vec<String>,
        /// The layers it names were all taken by rules before it.
        shadowed_by: Option<usize>,
    },
    /// A layer whose shape the method's parameters do not suit.
    #[error("cannot quantize `{layer}` [{rows}, {cols}] with `{method}` (rule at line {line})")]
    Layer {
        /// Layer name.
        layer: String,
        /// Output channels.
        rows: usize,
        /// Inputs.
        cols: usize,
        /// Method name.
        method: String,
        /// Line of the rule.
        line: usize,
        /// Why.
        source: QuantizeError,
    },
    /// A layer outside the blocks, for a method that reads gradients.
    #[error(
        "cannot quantize `{layer}` with `{method}` (rule at line {line}): the method reads gradients, and these are known inside the blocks only"
    )]
    NoGradients {
        /// Layer name.
        layer: String,
        /// Method name.
        method: String,
        /// Line of the rule.
        line: usize,
    },
    /// A cache or an attention that the model cannot have.
    #[error("cannot use `{method}` (`[{table}]` at line {line}): {reason}")]
    Way {
        /// Line of the table.
        line: usize,
        /// Its name.
        table: &'static str,
        /// Method name.
        method: String,
        /// Why not.
        reason: String,
    },
    /// A format that cannot hold a layer.
    #[error("format `{format}` cannot hold `{layer}`: {reason}")]
    Format {
        /// Format name.
        format: String,
        /// Layer name.
        layer: String,
        /// Why not, as the format says it.
        reason: String,
        /// Formats that can hold every layer.
        others: Vec<String>,
    },
    /// Sequences longer than the model takes.
    #[error(
        "calibration sequence_length: expected at most {limit} (the model's positions), found {found}"
    )]
    SequenceLength {
        /// Asked for.
        found: usize,
        /// What the model takes.
        limit: usize,
    },
    /// Statistics of a model one kind of data does not pass as a whole.
    #[error(
        "calibration runs one kind of data through a model, and `{architecture}` has a tower of images and one of texts"
    )]
    TwoTowers {
        /// Family.
        architecture: String,
        /// The statistics that need data.
        statistics: Vec<String>,
    },
    /// Synthetic text from a model that writes none.
    #[error(
        "calibration data `synthetic` is sampled from the model, and `{architecture}` predicts no tokens"
    )]
    NoSampler {
        /// Family.
        architecture: String,
        /// The statistics that need data.
        statistics: Vec<String>,
    },
    /// A transform that cannot rewrite the model, or not beside these methods.
    #[error("line {line}: transform `{transform}`: {reason}")]
    Transform {
        /// Line of its table.
        line: usize,
        /// Registry name.
        transform: String,
        /// Why not.
        reason: String,
    },
    /// An integer-only recipe for a model that has no such form.
    #[error("line {line}: integer-only programs are for encoders: text and vision transformers")]
    NoGraph {
        /// First line of `[nonlinear]` or `[activations]`.
        line: usize,
        /// What is in the way.
        source: GraphError,
    },
    /// A layer whose weights no integer product can take.
    #[error(
        "{}: `{layer}` in an integer-only program: expected symmetric uniform weights, one scale per channel or matrix, found {found}",
        at(*line)
    )]
    IntegerLayer {
        /// Line of the key that makes it so.
        line: usize,
        /// Layer name.
        layer: String,
        /// What the rule gives.
        found: String,
    },
    /// A format that holds no integer programs.
    #[error("format `{format}` cannot hold an integer program")]
    IntegerFormat {
        /// Format name.
        format: String,
    },
    /// A budget for an integer-only program.
    #[error("{}: the layers of an integer-only program cannot be left to a budget", at(*line))]
    IntegerBudget {
        /// Line of the rule.
        line: usize,
    },
    /// A budget, and no scores to choose by.
    #[error("the budget chooses among options by their scores, and they have not been measured")]
    NotMeasured,
    /// A file of scores that does not go with the model and the recipe.
    #[error("scores of `{file}`: {message}")]
    Measured {
        /// The file.
        file: String,
        /// What is wrong with it.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// A budget that not even the smallest options fit in.
    #[error(
        "budget: expected at least {least:.4} bits per weight, the smallest options together, found {budget}"
    )]
    BudgetTooSmall {
        /// Asked for, bits per weight.
        budget: f64,
        /// What the smallest options take, bits per weight.
        least: f64,
    },
    /// Scores that cannot be found of this model or recipe.
    #[error("sensitivity `{kind}`: {reason}")]
    Sensitivity {
        /// Kind of scores.
        kind: String,
        /// Why not.
        reason: String,
    },
    /// A layer that no option is for.
    #[error("{}: no option is for `{layer}`", at(*line))]
    NoOption {
        /// Line of the rule.
        line: usize,
        /// The layer.
        layer: String,
    },
    /// Every rule keeps its layers.
    #[error("every rule keeps its layers: nothing would be quantized")]
    NothingToQuantize,
    /// An evaluation its task cannot take.
    #[error("evaluation ({because}): {message}")]
    Evaluation {
        /// The recipe line or flag.
        because: String,
        /// What the task said.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// A gate on a figure that the run does not find.
    #[error("gate `{gate}` cannot be checked: {reason}")]
    Gate {
        /// As `figure<=bound`.
        gate: String,
        /// Why not.
        reason: String,
    },
    /// Data that is not there or that no source reads.
    #[error("{what} data `{data}` cannot be read")]
    Data {
        /// What it is for.
        what: String,
        /// As named.
        data: String,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Something in the recipe itself.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
}

impl PlanError {
    /// What to do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownArchitecture { .. } => Some(
                "`--method rtn` and `--method kmeans` read weights alone; `quench list architectures` says which \
                 models can be run"
                    .to_owned(),
            ),
            Self::NoGradients { .. } => {
                Some("give the layer a rule of its own, with `gptq` or `rtn`".to_owned())
            }
            Self::NoMatch {
                shadowed_by: Some(line),
                ..
            } => Some(format!(
                "the rule at line {line} takes those layers first; put the narrower rule before it"
            )),
            Self::NoMatch { nearest, .. } if !nearest.is_empty() => {
                Some(format!("nearest layer names: {}", quoted(nearest)))
            }
            Self::NoMatch { .. } => Some("`quench inspect MODEL` lists the names".to_owned()),
            Self::Layer { source, .. } => source.hint(),
            Self::Format { others, .. } if !others.is_empty() => Some(format!(
                "use `format = \"{}\"`, or another method for this layer",
                others[0]
            )),
            Self::SequenceLength { limit, .. } => Some(format!("use `--sequence-length {limit}`")),
            Self::TwoTowers { statistics, .. } => Some(format!(
                "`rtn` and `kmeans` need no data; {} would have to be measured in each tower",
                quoted(statistics)
            )),
            Self::NoSampler { statistics, .. } => Some(format!(
                "name data for {} with `--calib`",
                quoted(statistics)
            )),
            Self::NoGraph { .. } => Some(
                "without `[nonlinear]` and `[activations]` the rules quantize weights only"
                    .to_owned(),
            ),
            Self::IntegerLayer { .. } => Some(
                "`method = \"rtn\"` without `group_size` and `activation_bits` gives that"
                    .to_owned(),
            ),
            Self::IntegerFormat { .. } => Some("`format = \"quench\"` does".to_owned()),
            Self::NotMeasured => Some(
                "`quench measure MODEL -r RECIPE -o FILE` does it, and `--measured FILE` names what it wrote; \
                 `quench quantize` measures by itself"
                    .to_owned(),
            ),
            Self::BudgetTooSmall { .. } => {
                Some("raise the budget, or add options of fewer bits".to_owned())
            }
            Self::NoOption { .. } => {
                Some("its `[[budget.option]]` tables name other layers in `match`".to_owned())
            }
            Self::Measured { hint, .. } | Self::Evaluation { hint, .. } => hint.clone(),
            Self::Gate { .. } => Some(
                "name data for it with `--eval-data` or `[[evaluate]]`, an original with `--baseline`, or drop the gate"
                    .to_owned(),
            ),
            Self::Data { source, .. } => match source.downcast_ref::<DataError>() {
                Some(error) => error.hint(),
                None => Some(
                    "paths in a recipe are relative to its folder, on the command line to this one"
                        .to_owned(),
                ),
            },
            Self::Recipe(error) => error.hint(),
            _ => None,
        }
    }
}

/// Where a rule is; the command line has line 0.
fn at(line: usize) -> String {
    match line {
        0 => "command line".to_owned(),
        line => format!("line {line}"),
    }
}

fn quoted(names: &[String]) -> String {
    names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}
