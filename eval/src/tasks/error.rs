//! What can go wrong in an evaluation.

use calib::StageError;
use calib::data::DataError;
use calib::tokenizer::TokenizerError;
use std::fmt;
use thiserror::Error;

/// Which model of the pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The original checkpoint.
    Original,
    /// The artifact.
    Quantized,
}

impl fmt::Display for Side {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Original => "the original",
            Self::Quantized => "the quantized model",
        })
    }
}

/// An evaluation that cannot be done.
#[derive(Debug, Error)]
pub enum TaskError {
    /// No task of this name.
    #[error("unknown task `{found}`")]
    Unknown {
        /// As written.
        found: String,
        /// The nearest known one.
        nearest: Option<String>,
    },
    /// A key the task does not read.
    #[error("task `{task}` has no key `{key}`, it reads {}", list(.known))]
    Key {
        /// The task.
        task: &'static str,
        /// As written.
        key: String,
        /// Keys it reads.
        known: Vec<String>,
    },
    /// A key with a value that means nothing.
    #[error("task `{task}`: `{key}`: expected {expected}, found {found}")]
    Value {
        /// The task.
        task: String,
        /// The key.
        key: &'static str,
        /// What would do.
        expected: String,
        /// What is there.
        found: String,
    },
    /// Neither an original nor a quantized model.
    #[error("no model to evaluate")]
    NoModel,
    /// A model that returns something else.
    #[error("task `{task}` needs a model that returns {expected}, this one returns {found}")]
    Output {
        /// The task.
        task: &'static str,
        /// What it needs.
        expected: &'static str,
        /// What the model returns.
        found: &'static str,
    },
    /// A file the task needs is not in the model folder.
    #[error("task `{task}` needs `{file}`, and the model folder has none")]
    MissingFile {
        /// The task.
        task: &'static str,
        /// The file.
        file: &'static str,
    },
    /// A label the model does not know.
    #[error("`{data}` row {row}: label `{found}`, expected {expected}")]
    Label {
        /// The data.
        data: String,
        /// Counted from 1, without the header.
        row: usize,
        /// What is there.
        found: String,
        /// What the model knows.
        expected: String,
    },
    /// Two models that do not return the same number of values.
    #[error("the original returns {original} values and the quantized model {quantized}")]
    Shapes {
        /// Values of the original.
        original: usize,
        /// Values of the quantized model.
        quantized: usize,
    },
    /// NaN or infinity where a number should be.
    #[error("output of {side} is not finite ({place})")]
    NotFinite {
        /// Which model.
        side: Side,
        /// Sequence and position, or row.
        place: String,
    },
    /// A stage that cannot be built or run.
    #[error("cannot run {side}")]
    Stage {
        /// Which model.
        side: Side,
        /// Why.
        #[source]
        source: StageError,
    },
    /// An integer program that cannot be run on these inputs.
    #[error("cannot run {side}")]
    Program {
        /// Which model.
        side: Side,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A model without float stages where a task needs them.
    #[error("{side} is an integer program, and task `{task}` looks at float states")]
    NoStages {
        /// Which model.
        side: Side,
        /// The task.
        task: &'static str,
    },
    /// Output that is no floating-point tensor of three dimensions.
    #[error("cannot read the output of {side}: {found}")]
    Values {
        /// Which model.
        side: Side,
        /// What is wrong.
        found: String,
    },
    /// Data that cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A text the tokenizer refuses.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
}

impl TaskError {
    /// What the user may do about it.
    pub fn hints(&self) -> Vec<String> {
        match self {
            Self::Unknown {
                nearest: Some(name),
                ..
            } => vec![format!("did you mean `{name}`?")],
            Self::Data(error) => error.hints(),
            Self::Tokenizer(error) => error.hint().into_iter().collect(),
            _ => Vec::new(),
        }
    }
}

fn list(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}
