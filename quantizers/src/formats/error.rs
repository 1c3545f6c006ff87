//! What can be wrong with files and with layers that are to become files.

use super::containers::torch::TorchError;
use crate::integer::ProgramError;
use crate::nearest::closest_name;
use crate::tensor::InvalidTensor;
use crate::transforms::TransformError;
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
        "`{dir}` has neither `model.safetensors` nor `pytorch_model.bin`, and no index of shards of either",
        dir = dir.display()
    )]
    NoWeights {
        /// The folder looked in.
        dir: PathBuf,
        /// Files of other weight formats found there.
        others: Vec<String>,
    },
    /// Shards that an index names and that are not there.
    #[error("`{index}` names {all} files, and {} of them {} not there: `{}`", missing.len(), if missing.len() == 1 { "is" } else { "are" }, missing.join("`, `"), index = index.display())]
    MissingShards {
        /// The index file.
        index: PathBuf,
        /// Files it names.
        all: usize,
        /// Those that are absent.
        missing: Vec<String>,
    },
    /// What a clone without Git LFS leaves of a large file.
    #[error("`{file}` is a Git LFS pointer, expected the file it stands for", file = file.display())]
    LfsPointer {
        /// The file.
        file: PathBuf,
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
    /// Not a checkpoint of `torch.save`, a damaged one, or one with more than tensors.
    #[error("`{file}` is not a readable PyTorch checkpoint", file = file.display())]
    Torch {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<TorchError>,
    },
    /// Not a GGUF file, or one of a model that is not read.
    #[error("cannot read the GGUF file `{file}`: {problem}", file = file.display())]
    Gguf {
        /// The file.
        file: PathBuf,
        /// What is wrong with it, in words.
        problem: String,
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
    /// A shape that no matrix has.
    #[error("tensor `{name}` gives the shape {shape:?}, which no matrix has")]
    BadMatrix {
        /// The tensor.
        name: String,
        /// The shape found.
        shape: Vec<usize>,
    },
    /// Parts of a layer that do not belong together.
    #[error("layer `{layer}` is not valid")]
    Layer {
        /// The layer.
        layer: String,
        /// What does not belong.
        #[source]
        source: InvalidTensor,
    },
    /// A layer that a format has no room for.
    #[error("layer `{layer}` does not fit")]
    Unsupported {
        /// The layer.
        layer: String,
        /// Why.
        #[source]
        source: Unsupported,
    },
    /// A layer that is not what its scheme announced.
    #[error("layer `{layer}` is not what its scheme says")]
    Scheme {
        /// The layer.
        layer: String,
    },
    /// A `quantization_config` that says something this reader does not know.
    #[error("`quantization_config` of `{file}`: {place}: expected {expected}, found {found}", file = file.display())]
    Config {
        /// The file.
        file: PathBuf,
        /// Where in it.
        place: String,
        /// What would do.
        expected: String,
        /// What is there.
        found: String,
    },
    /// An integer program that does not fit its files.
    #[error("`{file}` is not valid", file = file.display())]
    Program {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: Box<ProgramError>,
    },
    /// A format without room for integer programs.
    #[error("format `{format}` cannot hold an integer program")]
    NoPrograms {
        /// Registry name of the format.
        format: &'static str,
    },
    /// A layer that is in the files but not in the configuration, or the other way round.
    #[error("layer `{layer}` is in {present} but not in {absent}")]
    OneSided {
        /// The layer.
        layer: String,
        /// Where it is.
        present: &'static str,
        /// Where it is not.
        absent: &'static str,
    },
    /// A value that the type it is to be stored in does not reach.
    #[error("`{name}` at position {position} is beyond what {stored:?} can hold")]
    Range {
        /// The tensor.
        name: String,
        /// Place in it.
        position: usize,
        /// The type.
        stored: Dtype,
    },
    /// A tensor that a transform could not rewrite.
    #[error("cannot rewrite `{name}`")]
    Rewritten {
        /// The tensor.
        name: String,
        /// Why.
        #[source]
        source: Box<TransformError>,
    },
    /// A folder that holds an artifact already.
    #[error("`{dir}` already holds a model", dir = dir.display())]
    Exists {
        /// The folder.
        dir: PathBuf,
    },
    /// Written files that do not give back what was quantized.
    #[error("`{dir}`: `{name}` {difference}", dir = dir.display())]
    Mismatch {
        /// The folder.
        dir: PathBuf,
        /// Layer or tensor.
        name: String,
        /// How it differs.
        difference: &'static str,
    },
}

/// What a format has no room for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("format `{format}` cannot hold {what}: it stores {stores}")]
pub struct Unsupported {
    /// Registry name of the format.
    pub format: &'static str,
    /// The property it has no room for.
    pub what: String,
    /// What it has room for.
    pub stores: &'static str,
}

/// What to do about an output folder that exists.
pub const OUTPUT_EXISTS_HINT: &str = "name another folder with `-o`, or replace it with `--force`";

impl FormatError {
    /// What the user could do about it, in one line.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoWeights { others, .. } => return super::no_weights::hint(others),
            Self::MissingShards { .. } => {
                "download the missing files into the same folder".to_owned()
            }
            Self::LfsPointer { .. } => super::LFS_HINT.to_owned(),
            Self::Torch { source, .. } => return source.hint().map(str::to_owned),
            Self::MissingTensor { nearest, .. } => return nearest.as_deref().map(closest_name),
            Self::Range { .. } => "take a wider type, such as `--dtype f32` or `bf16`".to_owned(),
            Self::Exists { .. } => OUTPUT_EXISTS_HINT.to_owned(),
            Self::NoPrograms { .. } => "`format = \"quench\"` does".to_owned(),
            Self::Unsupported { .. } => {
                "`format = \"quench\"` holds every layer, `dense` loads anywhere".to_owned()
            }
            _ => return None,
        })
    }

    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::Io {
            action,
            path: path.into(),
            source,
        }
    }
}
