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
    /// A section of the recipe language that this version cannot carry out.
    #[error("{}: {section} is not supported yet by this version", at(*line))]
    Unsupported {
        /// Where.
        line: usize,
        /// The section, as the recipe writes it.
        section: String,
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
            Self::NoRules => {
                Some("add a `[[layers]]` table with `match = \"*\"` and a `method`".to_owned())
            }
            _ => None,
        }
    }
}
