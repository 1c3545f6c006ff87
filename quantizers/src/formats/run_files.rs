//! Files beside the weights that say how a model is to be run: reading them, and what may be wrong with them.

use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Files that do not say how a model is to be run.
#[derive(Debug, Error)]
pub enum RunFileError {
    /// A file that cannot be read.
    #[error("cannot read `{file}`", file = file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A JSON file of another form.
    #[error("`{file}` is not valid", file = file.display())]
    Json {
        /// The file.
        file: PathBuf,
        /// Why not.
        source: serde_json::Error,
    },
    /// A file of tensors that is none.
    #[error("`{file}` is not a valid safetensors file", file = file.display())]
    Tensors {
        /// The file.
        file: PathBuf,
        /// Why not.
        source: safetensors::SafeTensorError,
    },
    /// Something in them that cannot be.
    #[error("`{file}`: {place}: expected {expected}, found {found}", file = file.display())]
    Content {
        /// The file.
        file: PathBuf,
        /// Where.
        place: String,
        /// What would do.
        expected: String,
        /// What is there.
        found: String,
    },
}

/// The JSON file `name` of `folder`, whose key `version.0` must be `version.1`, with its path; nothing where there is no
/// such file.
pub(super) fn read_header<T: DeserializeOwned>(
    folder: &Path,
    name: &str,
    version: (&str, u32),
) -> Result<Option<(PathBuf, T)>, RunFileError> {
    let file = folder.join(name);
    // A model may also be a single file.
    if !file.is_file() {
        return Ok(None);
    }
    let text = match fs_err::read_to_string(&file) {
        Ok(text) => text,
        Err(source) => return Err(RunFileError::Io { file, source }),
    };
    let json = |source| RunFileError::Json {
        file: file.clone(),
        source,
    };
    // A later version may have keys this one does not know.
    let value: Value = serde_json::from_str(&text).map_err(json)?;
    let found = &value[version.0];
    if found.as_u64() != Some(version.1.into()) {
        return Err(RunFileError::Content {
            place: version.0.to_owned(),
            expected: version.1.to_string(),
            found: found.to_string(),
            file,
        });
    }
    let header = serde_json::from_value(value).map_err(json)?;
    Ok(Some((file, header)))
}
