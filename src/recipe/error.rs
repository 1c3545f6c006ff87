//! What can be wrong with a recipe, always with its line.

use eval::gate::GateError;
use quantizers::ParamError;
use quantizers::nearest::did_you_mean;
use thiserror::Error;

/// A recipe that says something quench cannot do.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum RecipeError {
    /// Not TOML.
    #[error("{}: {message}", at(*line))]
    Syntax {
        /// Where.
        line: usize,
        /// What the TOML parser said.
        message: String,
    },
    /// A key that means nothing here.
    #[error("{}: unknown key `{key}` in {section}", at(*line))]
    UnknownKey {
        /// Where.
        line: usize,
        /// Which table, as the recipe writes it.
        section: String,
        /// The key.
        key: String,
        /// The nearest known one.
        nearest: Option<String>,
    },
    /// A rule that leaves its layers to a budget, and none is given.
    #[error("{}: the rule leaves its layers to the budget, and there is none", at(*line))]
    NoBudget {
        /// First line of the rule.
        line: usize,
    },
    /// A budget without a rule that leaves anything to it.
    #[error("{}: `[budget]` decides nothing: expected a rule with `bits = \"auto\"`, found none", at(*line))]
    NothingOpen {
        /// First line of the table.
        line: usize,
    },
    /// A rule that leaves everything to the budget, which has no option.
    #[error("{}: nothing to choose from: expected tables `[[budget.option]]` or `choices` that the method has, found none", at(*line))]
    NoOption {
        /// Where.
        line: usize,
    },
    /// A method whose width cannot be left to a budget.
    #[error("{}: method `{method}` has no `bits` to be left to the budget", at(*line))]
    NoWidth {
        /// Where.
        line: usize,
        /// The method.
        method: String,
    },
    /// A value of the wrong type or out of range.
    #[error("{}: `{key}` in {section}: expected {expected}, found {found}", at(*line))]
    BadValue {
        /// Where.
        line: usize,
        /// Which table.
        section: String,
        /// The key.
        key: String,
        /// What would do.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A key that must be there and is not.
    #[error("{}: {section} has no `{key}`", at(*line))]
    MissingKey {
        /// First line of the table.
        line: usize,
        /// Which table.
        section: String,
        /// The key.
        key: &'static str,
    },
    /// A name that no registry has.
    #[error("{}: unknown {what} `{name}`", at(*line))]
    UnknownName {
        /// Where.
        line: usize,
        /// Kind of thing: `method`, `format`, `task`.
        what: &'static str,
        /// The name found.
        name: String,
        /// The nearest known one.
        nearest: Option<String>,
    },
    /// A family of approximations that has none of this function.
    #[error("{}: `{family}` has no approximation of {function}: expected one of {}", at(*line), quoted(known))]
    NoApproximation {
        /// Where.
        line: usize,
        /// The family.
        family: String,
        /// The function.
        function: &'static str,
        /// Families that have one.
        known: Vec<String>,
    },
    /// A parameter the method cannot take.
    #[error("{}: {error}", at(*line))]
    Parameter {
        /// Where.
        line: usize,
        /// What the method said.
        error: Box<ParamError>,
    },
    /// A pattern that is no glob or regular expression.
    #[error("{}: pattern `{pattern}`: {message}", at(*line))]
    Pattern {
        /// Where.
        line: usize,
        /// The pattern.
        pattern: String,
        /// Why it cannot be read.
        message: String,
    },
    /// An evaluation its task cannot take.
    #[error("{}: {message}", at(*line))]
    Evaluation {
        /// First line of the table.
        line: usize,
        /// What the task said.
        message: String,
    },
    /// A gate on a figure that does not exist.
    #[error("{}: {error}", at(*line))]
    Gate {
        /// Where.
        line: usize,
        /// What is wrong with it.
        error: GateError,
    },
    /// Not one `[[layers]]` table.
    #[error("no `[[layers]]` rule: nothing would be quantized")]
    NoRules,
}

fn quoted(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

/// Where a mistake is; what the command line changed has line 0.
fn at(line: usize) -> String {
    match line {
        0 => "command line".to_owned(),
        line => format!("line {line}"),
    }
}

impl RecipeError {
    /// What to do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownName {
                what: "method",
                nearest: Some(nearest),
                ..
            } if nearest == "keep" => Some(
                "`method = \"keep\"` leaves layers as they are; `quench list recipe` has every key"
                    .to_owned(),
            ),
            Self::UnknownKey { nearest, .. } | Self::UnknownName { nearest, .. } => nearest
                .as_deref()
                .map(did_you_mean)
                .or_else(|| Some("`quench list recipe` has every section and key".to_owned())),
            Self::Gate { error, .. } => error.hint(),
            Self::Parameter { error, .. } => error.hint(),
            Self::NoBudget { .. } => {
                Some("add `[budget]` with `bits_per_weight`, or give it with `--budget`".to_owned())
            }
            Self::MissingKey {
                key: "bits_per_weight",
                ..
            } => Some("add it, or give it with `--budget`".to_owned()),
            Self::NothingOpen { .. } => {
                Some("`--budget` leaves the width of every rule open".to_owned())
            }
            Self::NoWidth { .. } => Some(
                "set `method = \"auto\"` and list what may be chosen as `[[budget.option]]`"
                    .to_owned(),
            ),
            Self::NoRules => {
                Some("add a `[[layers]]` table with `match = \"*\"` and a `method`".to_owned())
            }
            _ => None,
        }
    }
}
