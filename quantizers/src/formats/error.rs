//! What can be wrong with files and with layers that are to become files.

use safetensors::{Dtype, SafeTensorError};
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// A file, tensor or configuration that cannot be read or written.
#[derive(Debug, Error)]
pub enum FormatError {
    /// The operating system refused.
    #[error("cannot {action} `{path}`", path = path.display())]
    Io {
        /// What was tried: `read`, `write`, `rename`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No weights where some were expected.
    #[error(
        "`{dir}` has neither `model.safetensors` nor `model.safetensors.index.json`",
        dir = dir.display()
    )]
    NoWeights {
        /// The folder looked in.
        dir: PathBuf,
        /// Files of other weight formats found there.
        others: Vec<String>,
    },
    /// Not a safetensors file, or a damaged one.
    #[error("`{file}` is not a valid safetensors file", file = file.display())]
    Header {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        #[source]
        source: SafeTensorError,
    },
    /// Not JSON, or JSON of another shape than expected.
    #[error("`{file}` cannot be understood", file = file.display())]
    Json {
        /// The file.
        file: PathBuf,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// A shard index that names something other than a file beside it.
    #[error(
        "`{index}` places tensor `{name}` in `{file}`, expected the name of a file in the same folder",
        index = index.display()
    )]
    ShardName {
        /// The index file.
        index: PathBuf,
        /// The tensor.
        name: String,
        /// The shard it names.
        file: String,
    },
    /// A shard that lacks a tensor its index places there.
    #[error("`{index}` places tensor `{name}` in `{file}`, which does not have it", index = index.display())]
    ShardContent {
        /// The index file.
        index: PathBuf,
        /// The tensor.
        name: String,
        /// The shard it names.
        file: String,
    },
    /// The same name in two shards.
    #[error("tensor `{name}` is both in `{first}` and in `{second}`")]
    Duplicate {
        /// The tensor.
        name: String,
        /// One shard.
        first: String,
        /// The other.
        second: String,
    },
    /// A tensor that is not there.
    #[error("`{origin}` has no tensor `{name}`", origin = origin.display())]
    MissingTensor {
        /// Folder or file looked in.
        origin: PathBuf,
        /// The tensor.
        name: String,
        /// The nearest name present.
        nearest: Option<String>,
    },
    /// A tensor of another type.
    #[error("tensor `{name}`: expected {expected}, found {found:?}")]
    TensorType {
        /// The tensor.
        name: String,
        /// Types that would do.
        expected: &'static str,
        /// The type found.
        found: Dtype,
    },
    /// A tensor of another shape.
    #[error("tensor `{name}`: expected shape {expected:?}, found {found:?}")]
    TensorShape {
        /// The tensor.
        name: String,
        /// Shape needed.
        expected: Vec<usize>,
        /// Shape found.
        found: Vec<usize>,
    },
}

impl FormatError {
    /// At most one line each on what the user could do about it.
    pub fn hints(&self) -> Vec<String> {
        match self {
            Self::NoWeights { others, .. } if !others.is_empty() => {
                vec![format!(
                    "found `{}`: convert it to safetensors first",
                    others.join("`, `")
                )]
            }
            Self::MissingTensor {
                nearest: Some(nearest),
                ..
            } => {
                vec![format!("closest name is `{nearest}`")]
            }
            _ => Vec::new(),
        }
    }

    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::Io {
            action,
            path: path.into(),
            source,
        }
    }
}
