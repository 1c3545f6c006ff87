//! What can be wrong with a recipe, always with its line.

use eval::gate::GateError;
use quantizers::ParamError;
use thiserror::Error;

/// A recipe that says something quench cannot do.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum RecipeError {
    /// Not TOML.
    #[error("line {line}: {message}")]
    Syntax {
        /// Where.
        line: usize,
        /// What the TOML parser said.
        message: String,
    },
    /// A key that means nothing here.
    #[error("line {line}: unknown key `{key}` in {section}")]
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
    #[error("line {line}: {section} is not supported yet by this version")]
    Unsupported {
        /// Where.
        line: usize,
        /// The section, as the recipe writes it.
        section: String,
    },
    /// A value of the wrong type or out of range.
    #[error("line {line}: `{key}` in {section}: expected {expected}, found {found}")]
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
    #[error("line {line}: {section} has no `{key}`")]
    MissingKey {
        /// First line of the table.
        line: usize,
        /// Which table.
        section: String,
        /// The key.
        key: &'static str,
    },
    /// A name that no registry has.
    #[error("line {line}: unknown {what} `{name}`")]
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
    /// A parameter the method cannot take.
    #[error("line {line}: {source}")]
    Parameter {
        /// Where.
        line: usize,
        /// What the method said; part of this message, so not a cause of its own.
        source: Box<ParamError>,
    },
    /// A pattern that is no glob or regular expression.
    #[error("line {line}: pattern `{pattern}`: {message}")]
    Pattern {
        /// Where.
        line: usize,
        /// The pattern.
        pattern: String,
        /// Why it cannot be read.
        message: String,
    },
    /// An evaluation its task cannot take.
    #[error("line {line}: {message}")]
    Evaluation {
        /// First line of the table.
        line: usize,
        /// What the task said.
        message: String,
    },
    /// A gate on a figure that does not exist.
    #[error("line {line}: {source}")]
    Gate {
        /// Where.
        line: usize,
        /// What is wrong with it.
        source: GateError,
    },
    /// Not one `[[layers]]` table.
    #[error("no `[[layers]]` rule: nothing would be quantized")]
    NoRules,
}

impl RecipeError {
    /// What to do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        let nearest = match self {
            Self::UnknownKey { nearest, .. }
            | Self::UnknownName { nearest, .. }
            | Self::Gate {
                source: GateError::Figure { nearest, .. },
                ..
            } => nearest.clone(),
            Self::Parameter { source, .. } => match source.as_ref() {
                ParamError::UnknownKey { nearest, .. } => nearest.clone(),
                ParamError::BadValue { .. } => None,
            },
            Self::NoRules => {
                return Some(
                    "add a `[[layers]]` table with `match = \"*\"` and a `method`".to_owned(),
                );
            }
            _ => None,
        };
        nearest.map(|name| format!("did you mean `{name}`?"))
    }
}
