//! A checkpoint folder: config.json and weight files, memory-mapped; or a GGUF file, which is both.

use crate::{Model, ModelError, SourceError, Tensor32, WeightSource, open_model, stacked_modules};
use quantizers::formats::{
    Dtype, FormatError, TensorFolder, gguf, is_float, is_lfs_pointer, python_json,
};
use quantizers::tensor::FloatType;
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Name of the configuration file.
pub const CONFIG_FILE: &str = "config.json";

/// A folder in the Hugging Face layout. Opening reads headers only.
#[derive(Debug)]
pub struct Checkpoint {
    folder: PathBuf,
    config: serde_json::Value,
    tensors: TensorFolder,
}

/// A tensor exactly as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredTensor<'a> {
    /// Element type.
    pub dtype: Dtype,
    /// Dimensions, outermost first.
    pub shape: &'a [usize],
    /// Little-endian elements, row-major.
    pub bytes: Cow<'a, [u8]>,
}

/// A folder that is no readable checkpoint.
#[derive(Debug, Error)]
pub enum CheckpointError {
    /// There is no such folder.
    #[error("no folder `{folder}`", folder = folder.display())]
    NoFolder {
        /// The path given.
        folder: PathBuf,
    },
    /// config.json cannot be read.
    #[error("cannot read `{file}`", file = file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// config.json is no JSON object.
    #[error("`{file}` is not a JSON object", file = file.display())]
    Config {
        /// The file.
        file: PathBuf,
        /// What is wrong with it; absent where it is JSON of another kind.
        #[source]
        source: Option<serde_json::Error>,
    },
    /// The weights cannot be opened.
    #[error(transparent)]
    Weights(#[from] FormatError),
}

impl CheckpointError {
    /// What the user could do about it, in one line.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Weights(error) => error.hint(),
            Self::NoFolder { .. } | Self::Read { .. } | Self::Config { .. } => None,
        }
    }
}

impl Checkpoint {
    /// Opens `folder`: config.json, and `model.safetensors`, `pytorch_model.bin` or shards of one of them; or a
    /// GGUF file.
    ///
    /// # Errors
    /// No such folder, a file that is missing, cannot be read or is damaged.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, CheckpointError> {
        let folder = folder.as_ref();
        if !folder.is_dir() && !gguf::is_gguf(folder) {
            return Err(CheckpointError::NoFolder {
                folder: folder.to_path_buf(),
            });
        }
        let tensors = TensorFolder::open(folder);
        if let Ok(opened) = &tensors
            && let Some(config) = gguf::config(opened)?
        {
            return Ok(Self {
                folder: folder.to_path_buf(),
                config: config.into(),
                tensors: tensors?,
            });
        }
        let file = folder.join(CONFIG_FILE);
        let text = fs_err::read(&file).map_err(|source| CheckpointError::Read {
            file: file.clone(),
            source,
        })?;
        if is_lfs_pointer(&text) {
            return Err(FormatError::LfsPointer { file }.into());
        }
        let config = python_json::parse(&text).map_err(|source| CheckpointError::Config {
            file: file.clone(),
            source: Some(source),
        })?;
        if !config.is_object() {
            return Err(CheckpointError::Config { file, source: None });
        }
        let mut tensors = tensors?;
        tensors.unstack(stacked_modules(&config));
        Ok(Self {
            folder: folder.to_path_buf(),
            config,
            tensors,
        })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The whole of config.json.
    pub fn config(&self) -> &serde_json::Value {
        &self.config
    }

    /// The same tensors with another configuration, which has to be an object.
    #[must_use]
    pub fn with_config(self, config: serde_json::Value) -> Self {
        Self { config, ..self }
    }

    /// Types, shapes and bytes of all tensors.
    pub fn tensors(&self) -> &TensorFolder {
        &self.tensors
    }

    /// The type config.json declares for the weights: `dtype` (transformers 5) or `torch_dtype` (4),
    /// without a leading `torch.`.
    pub fn declared_dtype(&self) -> Option<&str> {
        ["dtype", "torch_dtype"]
            .iter()
            .find_map(|key| self.config.get(key).and_then(serde_json::Value::as_str))
            .map(|name| name.strip_prefix("torch.").unwrap_or(name))
    }

    /// Opens the model this folder holds; reads headers only.
    ///
    /// # Errors
    /// As [`open_model`], and a tensor the model needs that is stored in a type that is no float.
    pub fn open_model(&self) -> Result<Box<dyn Model>, ModelError> {
        let model = open_model(&self.config, self)?;
        self.check_types(model.as_ref(), &|_| false)?;
        Ok(model)
    }

    /// Whether every tensor of `model` is stored in a type that is a float; `is_decoded` names those that something
    /// else than this checkpoint reads.
    ///
    /// # Errors
    /// The first that is not.
    pub fn check_types(
        &self,
        model: &dyn Model,
        is_decoded: &dyn Fn(&str) -> bool,
    ) -> Result<(), SourceError> {
        for tensor in (0..model.stages()).flat_map(|stage| model.tensors(stage)) {
            let dtype = self.tensors.info(&tensor.name).map(|info| info.dtype);
            let found = dtype.filter(|dtype| !is_float(*dtype));
            if let Some(found) = found.filter(|_| !is_decoded(&tensor.name)) {
                return Err(SourceError::Type {
                    name: tensor.name.clone(),
                    found: format!("{found:?}"),
                });
            }
        }
        Ok(())
    }

    /// `name` as stored, for copying it unchanged.
    ///
    /// # Errors
    /// No such tensor.
    pub fn stored(&self, name: &str) -> Result<StoredTensor<'_>, SourceError> {
        let info = self
            .tensors
            .require(name)
            .map_err(|error| self.source_error(error))?;
        let bytes = self
            .tensors
            .bytes(name)
            .map_err(|error| self.source_error(error))?;
        Ok(StoredTensor {
            dtype: info.dtype,
            shape: &info.shape,
            bytes,
        })
    }

    fn source_error(&self, error: FormatError) -> SourceError {
        match error {
            FormatError::MissingTensor {
                origin,
                name,
                nearest,
            } => SourceError::Missing {
                origin,
                name,
                nearest,
            },
            FormatError::TensorType { name, found, .. } => SourceError::Type {
                name,
                found: format!("{found:?}"),
            },
            other => SourceError::File {
                origin: self.folder.clone(),
                source: Box::new(other),
            },
        }
    }
}

impl WeightSource for Checkpoint {
    fn tensor(&self, name: &str) -> Result<Tensor32<'_>, SourceError> {
        let info = self
            .tensors
            .require(name)
            .map_err(|error| self.source_error(error))?;
        let data = self
            .tensors
            .floats(name)
            .map_err(|error| self.source_error(error))?;
        Ok(Tensor32 {
            shape: info.shape.clone(),
            data,
        })
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.tensors.info(name).map(|info| info.shape.clone())
    }

    fn names(&self) -> Vec<String> {
        self.tensors.names().map(str::to_owned).collect()
    }

    fn halves(&self, name: &str) -> Result<Option<(FloatType, Vec<u16>)>, SourceError> {
        let found = self.tensors.halves(name);
        found.map_err(|error| self.source_error(error))
    }

    fn release(&self, name: &str) {
        self.tensors.release(name);
    }
}
