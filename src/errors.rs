//! Errors as people see them: what failed, why, what to do; and the exit code of each kind.

use crate::ending::{Ending, ExitCode, report_it};
use crate::machine::DeviceError;
use crate::plan::PlanError;
use crate::recipe::RecipeError;
use eval::report::figures;
use quantizers::formats::OUTPUT_EXISTS_HINT;
use quantizers::nearest::did_you_mean;
use std::error::Error as StdError;
use std::path::PathBuf;
use thiserror::Error;

/// Any source error of another crate.
pub type Cause = Box<dyn StdError + Send + Sync>;

/// Everything a command can end with besides success.
#[derive(Debug, Error)]
pub enum Error {
    /// A flag or argument that makes no sense here.
    #[error("{message}")]
    Usage {
        /// What is wrong.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// A recipe with a mistake in it.
    #[error("recipe `{origin}` is not valid")]
    Recipe {
        /// File or built-in name.
        origin: String,
        /// The mistake.
        source: RecipeError,
    },
    /// No such recipe.
    #[error("no recipe `{name}`: neither a file nor built in")]
    RecipeNotFound {
        /// As typed.
        name: String,
        /// The nearest built-in one.
        nearest: Option<String>,
    },
    /// A recipe that does not fit the model.
    #[error("recipe `{recipe}` does not fit `{model}`")]
    Plan {
        /// Recipe name.
        recipe: String,
        /// Model name.
        model: String,
        /// Why.
        source: PlanError,
    },
    /// A model folder, file or data set that does not exist.
    #[error("{what} `{path}` does not exist")]
    NotFound {
        /// Kind of thing.
        what: &'static str,
        /// Where it was looked for.
        path: PathBuf,
        /// What to do.
        hint: Option<String>,
    },
    /// A file or folder that cannot be read or written, or a download that failed.
    #[error("{message}")]
    Io {
        /// What could not be done.
        message: String,
        /// Why.
        source: Cause,
        /// What to do.
        hint: Option<String>,
    },
    /// The output folder exists.
    #[error("output folder `{path}` exists")]
    OutputExists {
        /// The folder.
        path: PathBuf,
    },
    /// A checkpoint or artifact whose content does not fit what is asked of it.
    #[error("{message}")]
    Mismatch {
        /// What does not fit.
        message: String,
        /// Why.
        #[source]
        source: Option<Cause>,
        /// What to do.
        hint: Option<String>,
    },
    /// A device this build cannot use.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// Not enough memory, told beforehand.
    #[error(
        "not enough memory: one block and its statistics take {}, {} are free",
        figures::bytes(*needed_bytes),
        figures::bytes(*free_bytes)
    )]
    Memory {
        /// Predicted peak.
        needed_bytes: u64,
        /// Free now.
        free_bytes: u64,
    },
    /// Not enough memory for all weights at once, told beforehand.
    #[error(
        "not enough memory: the weights take {}, {} are free",
        figures::bytes(*needed_bytes),
        figures::bytes(*free_bytes)
    )]
    WeightMemory {
        /// All weights.
        needed_bytes: u64,
        /// Free now.
        free_bytes: u64,
    },
    /// Not enough memory for windows of text, told beforehand.
    #[error(
        "not enough memory: the windows of all methods take {}, {} are free",
        figures::bytes(*needed_bytes),
        figures::bytes(*free_bytes)
    )]
    WindowMemory {
        /// Predicted peak.
        needed_bytes: u64,
        /// Free now.
        free_bytes: u64,
    },
    /// Not enough room for the output, told beforehand.
    #[error(
        "not enough room for `{}`: {} are needed while it is written, {} are free",
        path.display(),
        figures::bytes(*needed_bytes),
        figures::bytes(*free_bytes)
    )]
    Disk {
        /// The output folder.
        path: PathBuf,
        /// The most it takes at one time.
        needed_bytes: u64,
        /// Free now.
        free_bytes: u64,
        /// The folder for scratch files and statistics, not the output.
        is_cache: bool,
    },
    /// Accuracy gates that failed.
    #[error("accuracy gate failed: {}", failed.join(", "))]
    Gate {
        /// Each failed gate with what was found.
        failed: Vec<String>,
        /// The written folder.
        output: Option<PathBuf>,
    },
    /// The model is written, and could not be evaluated.
    #[error("the model is written to `{path}`, and could not be evaluated", path = path.display())]
    NotEvaluated {
        /// The written folder.
        path: PathBuf,
        /// The command that evaluates it again.
        again: String,
        /// What failed.
        source: Box<Self>,
    },
    /// The written files do not say what was quantized.
    #[error("verification of `{path}` failed")]
    Verification {
        /// The written folder.
        path: PathBuf,
        /// The difference.
        source: Cause,
    },
    /// A failure inside quench that no input should be able to cause.
    #[error("internal error: {message}")]
    Bug {
        /// What was being done.
        message: String,
        /// Why it failed.
        #[source]
        source: Option<Cause>,
    },
}

impl Error {
    /// A usage error without a hint.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::Usage {
            message: message.into(),
            hint: None,
        }
    }

    /// Something on disk or the network that failed, in one line with its cause.
    pub fn io(message: impl Into<String>, source: impl Into<Cause>) -> Self {
        Self::Io {
            message: message.into(),
            source: source.into(),
            hint: None,
        }
    }

    /// Content that does not fit, with its cause.
    pub fn mismatch(message: impl Into<String>, source: impl Into<Cause>) -> Self {
        Self::Mismatch {
            message: message.into(),
            source: Some(source.into()),
            hint: None,
        }
    }

    /// The same error with advice.
    #[must_use]
    pub fn with_hint(self, advice: impl Into<String>) -> Self {
        self.hinted(Some(advice.into()))
    }

    /// The same error with the advice of its cause, if that has any.
    #[must_use]
    pub fn hinted(mut self, advice: Option<String>) -> Self {
        if let Self::Usage { hint, .. }
        | Self::NotFound { hint, .. }
        | Self::Io { hint, .. }
        | Self::Mismatch { hint, .. } = &mut self
        {
            *hint = advice;
        }
        self
    }

    /// The exit code of the program.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage { .. } | Self::OutputExists { .. } | Self::Device(_) => ExitCode::Usage,
            Self::Plan {
                source: PlanError::Data { .. },
                ..
            }
            | Self::NotFound { .. }
            | Self::Io { .. }
            | Self::Disk { .. } => ExitCode::Io,
            Self::Recipe { .. }
            | Self::RecipeNotFound { .. }
            | Self::Plan { .. }
            | Self::Mismatch { .. } => ExitCode::Mismatch,
            Self::NotEvaluated { source, .. } => source.exit_code(),
            Self::Memory { .. } | Self::WeightMemory { .. } | Self::WindowMemory { .. } => {
                ExitCode::Memory
            }
            Self::Gate { .. } => ExitCode::Gate,
            Self::Verification { .. } => ExitCode::Verification,
            Self::Bug { .. } => ExitCode::Bug,
        }
    }

    /// What to do about it: at most one line.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Usage { hint, .. }
            | Self::NotFound { hint, .. }
            | Self::Io { hint, .. }
            | Self::Mismatch { hint, .. } => hint.clone(),
            Self::Recipe { source, .. } => source.hint(),
            Self::RecipeNotFound {
                nearest: Some(name),
                ..
            } => Some(did_you_mean(name)),
            Self::RecipeNotFound { nearest: None, .. } => {
                Some("`quench list recipes` names the built-in ones".to_owned())
            }
            Self::Plan { source, .. } => source.hint(),
            Self::OutputExists { .. } => Some(OUTPUT_EXISTS_HINT.to_owned()),
            Self::Device(error) => error.hint(),
            Self::WindowMemory { .. } => Some(
                "take fewer windows with `--samples`, shorter ones with `--sequence-length`, or name a `--method`"
                    .to_owned(),
            ),
            Self::Memory { .. } | Self::WeightMemory { .. } => {
                Some("end other programs, or use a machine with more memory".to_owned())
            }
            Self::Disk { is_cache: true, .. } => {
                Some("name a folder on another disk with `QUENCH_CACHE`".to_owned())
            }
            Self::Disk { .. } => Some("name a folder on another disk with `-o`".to_owned()),
            Self::Gate {
                output: Some(path), ..
            } => Some(format!(
                "the files and the report are in `{}`",
                path.display()
            )),
            Self::NotEvaluated { again, .. } => Some(format!(
                "the files are complete; evaluate them again with `{again}`"
            )),
            Self::Bug { .. } => Some(report_it()),
            _ => None,
        }
    }

    /// Everything that is said of it, each thing once.
    pub fn ending(&self) -> Ending {
        let message = self.to_string();
        let mut said = vec![message.clone()];
        let mut cause = self.source();
        while let Some(error) = cause {
            if let Some(line) = news(&said, error.to_string().trim()) {
                said.push(line);
            }
            cause = error.source();
        }
        Ending {
            message,
            causes: said.split_off(1),
            hint: self.hint(),
            code: self.exit_code(),
        }
    }

    /// [`Self::ending`] as lines.
    pub fn render(&self) -> String {
        self.ending().text()
    }
}

/// What `line` says that was not said: transparent wrappers repeat what they wrap, and every layer that hands
/// a failed file on says again that it cannot be read.
fn news(said: &[String], line: &str) -> Option<String> {
    if said.iter().any(|before| before == line) {
        return None;
    }
    let access = [
        "cannot read ",
        "cannot open ",
        "cannot write ",
        "failed to ",
    ];
    let known = |name: &str| {
        let quoted = format!("`{name}`");
        said.iter().any(|before| before.contains(&quoted))
    };
    let mut parts = line.split('`');
    let begin = parts.next().unwrap_or_default();
    let (Some(name), Some(rest)) = (parts.next(), parts.next()) else {
        return Some(line.to_owned());
    };
    if parts.next().is_some() || !access.iter().any(|word| begin.starts_with(word)) || !known(name)
    {
        return Some(line.to_owned());
    }
    let reason = rest.trim_start_matches(':').trim();
    (!reason.is_empty()).then(|| reason.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_error_reads_as_error_cause_hint() {
        let error = Error::Recipe {
            origin: "recipes/bert-w4.toml".into(),
            source: RecipeError::UnknownKey {
                line: 14,
                section: "`[[layers]]`".into(),
                key: "groupsize".into(),
                nearest: Some("group_size".into()),
            },
        };
        assert_eq!(
            error.render(),
            "error: recipe `recipes/bert-w4.toml` is not valid\n  \
             cause: line 14: unknown key `groupsize` in `[[layers]]`\n\
             hint: did you mean `group_size`?\n"
        );
        assert_eq!(error.exit_code(), ExitCode::Mismatch);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named_once() {
        let missing = fs_err::read("no/such/file").unwrap_err();
        let text = Error::io("cannot read recipe `no/such/file`", missing).render();
        assert_eq!(text.matches("no/such/file").count(), 1, "{text}");
        assert!(text.contains("cause: No such file"), "{text}");
    }
}
