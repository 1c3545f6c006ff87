//! What can go wrong in an evaluation.

use crate::kind::ModelKind;
use crate::retrieval::ProbeError;
use calib::StageError;
use calib::data::DataError;
use calib::running::error::CollectError;
use calib::tokenizer::TokenizerError;
use quantizers::nearest::did_you_mean;
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
    #[error("unknown key `{key}` for task `{task}`")]
    Key {
        /// The task.
        task: &'static str,
        /// As written.
        key: String,
        /// The nearest key it reads.
        nearest: Option<String>,
    },
    /// Keys whose values have another type than the task reads.
    #[error("task `{task}`: {message}")]
    Options {
        /// The task.
        task: &'static str,
        /// What was expected and found.
        message: String,
    },
    /// A key with a value that means nothing.
    #[error("task `{task}`: `{key}`: expected {expected}, found {found}")]
    Value {
        /// The task.
        task: &'static str,
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
    /// A model of another kind than the task judges.
    #[error("task `{task}` does not judge {}", .kind.with_article())]
    Kind {
        /// The task.
        task: &'static str,
        /// What the model is for.
        kind: ModelKind,
        /// A task that judges it.
        fitting: Option<&'static str>,
    },
    /// A file the task needs is not in the model folder.
    #[error("task `{task}` needs `{file}`, and the model folder has none")]
    MissingFile {
        /// The task.
        task: &'static str,
        /// The file.
        file: &'static str,
    },
    /// A label for which the model returns no logit.
    #[error("label {label}, and the model returns logits of {classes} classes")]
    NoLogit {
        /// Class number.
        label: usize,
        /// Logits of a row.
        classes: usize,
    },
    /// An image whose label is no class of the model.
    #[error("`{data}`: image {image} has label {found}, expected a number from 0 to {last}")]
    Label {
        /// The data.
        data: String,
        /// Counted from 0, as in the tensor.
        image: usize,
        /// What is there.
        found: usize,
        /// Number of the last class.
        last: usize,
    },
    /// A model that does not choose one class.
    #[error(
        "`problem_type` of config.json is `{problem}`: the model chooses no class, so accuracy means nothing"
    )]
    NoClass {
        /// As config.json has it.
        problem: String,
    },
    /// A rank correlation of values that have no order.
    #[error(
        "`{data}`: a rank correlation needs different {what}, and all {pairs} pairs have the same"
    )]
    NoOrder {
        /// The data.
        data: String,
        /// What has no order.
        what: String,
        /// How many pairs there are.
        pairs: usize,
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
    /// Data that cannot be walked through the original to the loss and back.
    #[error(transparent)]
    Calibration(#[from] CollectError),
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
    /// A text too short to hide something.
    #[error(transparent)]
    Probe(#[from] ProbeError),
}

impl TaskError {
    /// At most one line on what the user could do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown { nearest, .. } | Self::Key { nearest, .. } => {
                nearest.as_deref().map(did_you_mean)
            }
            Self::Kind { fitting, .. } => fitting.map(|task| format!("task `{task}` does")),
            Self::Stage { source, .. } | Self::Calibration(CollectError::Stage(source)) => {
                source.hint()
            }
            Self::Data(error) => error.hint(),
            Self::Tokenizer(error) => error.hint(),
            _ => None,
        }
    }
}
