//! Recipes: what a person typed, parsed and checked word by word, before any model is known.
//!
//! A [`Recipe`] becomes a [`Plan`](crate::plan::Plan) once a model's headers are at hand.

mod budget;
pub mod builtin;
mod document;
mod error;
mod evaluation;
mod in_force;
pub mod integer;
mod overrides;
mod parse;
mod pattern;
mod quantity;
pub mod reference;
mod rule;
mod sections;
mod way;
mod transform;
#[cfg(test)]
mod tests;

pub use budget::{Budget, Scope, Tie, is_budget};
pub use builtin::{BUILTIN, BuiltinRecipe};
pub use error::RecipeError;
pub use in_force::RECIPE_FILE;
pub use integer::Integer;
pub use overrides::Overrides;
pub use pattern::Pattern;
pub use quantity::parse_bytes;
pub use transform::TransformRule;
pub use way::{CacheBudget, WayKind, WayRule};

use calib::running::expert_calibration::ExpertCalibration;
use calib::sampling::{Selection, Template, TextMode};
use eval::gate::Gate;
use eval::tasks::TaskSpec;
use quantizers::nearest::nearest;
use quantizers::{METHODS, Quantizer};
use std::fmt;
use std::path::{Path, PathBuf};

/// What is to be done, for any model.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// Name in reports and default output folders.
    pub name: String,
    /// Where it was read from.
    pub origin: Origin,
    /// SHA-256 of the text, hexadecimal; of [`Recipe::to_toml`] once the command line has had its say.
    pub sha256: String,
    /// Seed of everything random; split by layer name further down.
    pub seed: u64,
    /// Data the statistics are measured on.
    pub calibration: Calibration,
    /// Applied to each block in this order, before its layers are quantized.
    pub transforms: Vec<TransformRule>,
    /// How the cache of keys and values is kept.
    pub cache: Option<WayRule>,
    /// Which keys are attended to.
    pub attention: Option<WayRule>,
    /// First match wins.
    pub rules: Vec<Rule>,
    /// What the layers of rules that leave it open may take; absent where there are none.
    pub budget: Option<Budget>,
    /// What makes it integer-only; nothing for weight-only recipes.
    pub integer: Option<Integer>,
    /// What the artifact looks like.
    pub output: Output,
    /// What the report measures by itself.
    pub report: ReportOptions,
    /// Tasks run on the written files; empty means the default for the kind of model.
    pub evaluations: Vec<Evaluation>,
    /// Whether anything is evaluated.
    pub evaluate: bool,
    /// Data of the task that fits the model, instead of `evaluations`.
    pub eval_data: Option<String>,
    /// Bounds the result must keep.
    pub gates: Vec<Gate>,
}

/// Where a recipe came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Compiled in.
    Builtin,
    /// A file.
    File(PathBuf),
    /// Made from `--method` and `--bits`.
    CommandLine,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Builtin => f.write_str("built-in"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::CommandLine => f.write_str("command line"),
        }
    }
}

/// `[calibration]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calibration {
    /// A path (already absolute or relative to the working directory), `hub:...` or `synthetic`.
    pub data: String,
    /// Sequences or images.
    pub samples: usize,
    /// Tokens of one sequence; absent means as many as suit the model.
    pub sequence_length: Option<usize>,
    /// How text becomes sequences.
    pub mode: TextMode,
    /// Which of them are taken.
    pub selection: Selection,
    /// What conversations become.
    pub template: Template,
    /// What the layers of experts are measured on.
    pub experts: ExpertCalibration,
    /// What was measured stays in the cache folder for a later run.
    pub keep_statistics: bool,
}

/// One `[[layers]]` table.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Which layers.
    pub pattern: Pattern,
    /// First line of the table.
    pub line: usize,
    /// Registry name, `auto` where the budget decides it, or `None` for `method = "keep"`.
    pub method: Option<String>,
    /// Parameters of the method, as typed.
    pub parameters: toml::Table,
    /// The line of each parameter.
    pub lines: Vec<(String, usize)>,
    /// What the command line changed, for the plan's `because`.
    pub overridden: Vec<String>,
}

/// `[output]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Registry name of a format, or `auto`.
    pub format: String,
    /// Most bytes of one weight file.
    pub shard_bytes: u64,
}

/// `[report]`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReportOptions {
    /// Measure the error of each layer's output, which needs the Hessian of its inputs even where
    /// no method does. Absent leaves it to the plan.
    pub output_sqnr: Option<bool>,
}

/// One `[[evaluate]]` table, checked by its task.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// First line of the table.
    pub line: usize,
    /// What it says, `data` resolved.
    pub spec: TaskSpec,
}

impl Rule {
    /// Configures the rule's method; `None` keeps the layer as it is.
    ///
    /// # Errors
    /// An unknown method, or a parameter it cannot take.
    pub fn quantizer(&self) -> Result<Option<Box<dyn Quantizer>>, RecipeError> {
        self.quantizer_with(&self.parameters)
    }

    /// As [`Rule::quantizer`] with other parameters.
    ///
    /// # Errors
    /// As [`Rule::quantizer`].
    pub fn quantizer_with(
        &self,
        parameters: &toml::Table,
    ) -> Result<Option<Box<dyn Quantizer>>, RecipeError> {
        let Some(name) = &self.method else {
            return Ok(None);
        };
        let method = METHODS
            .iter()
            .find(|method| method.name() == name)
            .ok_or_else(|| {
                let known = METHODS.iter().map(|method| method.name()).chain([KEEP]);
                let keep = LIKE_KEEP.contains(&name.to_lowercase().as_str());
                RecipeError::UnknownName {
                    line: self.line_of("method"),
                    what: "method",
                    name: name.clone(),
                    nearest: if keep {
                        Some(KEEP.to_owned())
                    } else {
                        nearest(name, known)
                    },
                }
            })?;
        method
            .configure(parameters)
            .map(Some)
            .map_err(|error| RecipeError::Parameter {
                line: self.line_of(error.key()),
                error: Box::new(error),
            })
    }

    /// The line of a key, or of the rule where the key is absent.
    pub fn line_of(&self, key: &str) -> usize {
        line_of(&self.lines, key, self.line)
    }
}

/// The line of `key` among `lines`, or that of its table where the key is absent.
fn line_of(lines: &[(String, usize)], key: &str, table: usize) -> usize {
    lines
        .iter()
        .find(|(name, _)| name == key)
        .map_or(table, |(_, line)| *line)
}

/// The method name that leaves a layer as it is.
pub const KEEP: &str = "keep";

/// What people write for it.
const LIKE_KEEP: [&str; 20] = [
    "none",
    "skip",
    "no",
    "off",
    "false",
    "null",
    "nothing",
    "exclude",
    "excluded",
    "ignore",
    "ignored",
    "original",
    "unquantized",
    "dense",
    "float",
    "fp16",
    "fp32",
    "f16",
    "f32",
    "bf16",
];

/// Resolves a data reference of a recipe against the folder its paths are relative to.
///
/// `synthetic` and `hub:...` stay as they are.
pub(crate) fn resolve_data(text: &str, folder: Option<&Path>) -> String {
    match folder {
        Some(folder)
            if !["synthetic", "demo"].contains(&text)
                && !text.starts_with("hub:")
                && Path::new(text).is_relative() =>
        {
            folder.join(text).to_string_lossy().into_owned()
        }
        _ => text.to_owned(),
    }
}
