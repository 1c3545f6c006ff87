//! JSON files of a model folder, as Python writes them.

use quantizers::formats::{LFS_HINT, is_lfs_pointer, python_json};
use serde_json::Value;
use std::path::Path;
use thiserror::Error;

/// A file that is there and cannot be used; whoever asked for it names it.
#[derive(Debug, Error)]
pub enum JsonFileError {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] std::io::Error),
    /// What a clone without Git LFS leaves of a large file.
    #[error("a Git LFS pointer instead of JSON: {LFS_HINT}")]
    LfsPointer,
    /// No JSON, with line and column.
    #[error(transparent)]
    Syntax(#[from] serde_json::Error),
}

/// Reads `path`.
///
/// # Errors
/// See [`JsonFileError`].
pub fn read(path: &Path) -> Result<Value, JsonFileError> {
    let content = fs_err::read(path)?;
    if is_lfs_pointer(&content) {
        return Err(JsonFileError::LfsPointer);
    }
    Ok(python_json::parse(&content)?)
}
