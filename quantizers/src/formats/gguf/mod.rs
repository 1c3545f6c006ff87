//! GGUF files: a container with its own types of tensors, names, settings and tokenizer.
//!
//! [`TensorFolder`] maps them as it maps safetensors; what is here makes the rest of a model
//! folder of one: `config.json` and the files of the tokenizer, in memory.

pub(super) mod blocks;
mod config;
pub(super) mod families;
pub(super) mod header;
mod rope;
mod tokenizer;
mod values;

use super::FormatError;
use super::tensor_folder::TensorFolder;
use header::Header;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::Path;

/// Whether `path` has the name of a GGUF file.
pub fn is_gguf(path: &Path) -> bool {
    header::is_gguf(path)
}

/// `config.json` of the model in `folder`; nothing where that is no GGUF file.
///
/// # Errors
/// A head that is damaged, a model that is not read.
pub fn config(folder: &TensorFolder) -> Result<Option<Map<String, Value>>, FormatError> {
    read(folder, config::config)
}

/// The files of the tokenizer of the model in `folder`, by name; none where that is no GGUF file.
///
/// # Errors
/// A head that is damaged, a tokenizer that is not read.
pub fn side_files(folder: &TensorFolder) -> Result<BTreeMap<&'static str, Vec<u8>>, FormatError> {
    let files = read(folder, |header, _| tokenizer::files(header))?;
    Ok(files.unwrap_or_default())
}

/// Whether the tensor `name` is a setting and no weight.
pub(super) fn is_setting(name: &str) -> bool {
    config::SETTING_TENSORS.contains(&name)
}

/// Whether the head of the model is its token table.
pub(super) fn is_tied(header: &Header<'_>, bytes: &[u8]) -> bool {
    config::is_tied(header, bytes)
}

/// What `take` makes of the head and the bytes of the file behind `folder`.
fn read<R>(
    folder: &TensorFolder,
    take: impl FnOnce(&Header<'_>, &[u8]) -> Result<R, String>,
) -> Result<Option<R>, FormatError> {
    let Some((file, bytes)) = folder.gguf() else {
        return Ok(None);
    };
    let taken = Header::parse(bytes).and_then(|header| take(&header, bytes));
    taken
        .map(Some)
        .map_err(|problem| FormatError::Gguf { file, problem })
}
