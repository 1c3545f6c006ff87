//! The JSON files of a model folder that say something of its tokenizer, read once.

use super::TokenizerError;
use crate::json_file;
use quantizers::formats::{TensorFolder, gguf};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The files' contents; null where there is no such file.
#[derive(Debug)]
pub(super) struct JsonFiles {
    /// The model folder.
    pub(super) folder: PathBuf,
    /// `tokenizer_config.json`.
    pub(super) settings: Value,
    /// `special_tokens_map.json`.
    pub(super) map: Value,
    /// `added_tokens.json`.
    pub(super) added: Value,
    /// `config.json`.
    pub(super) config: Value,
    /// `generation_config.json`.
    pub(super) generation: Value,
    /// The files that a GGUF file in the place of the folder stands for.
    pub(super) made: BTreeMap<&'static str, Vec<u8>>,
}

impl JsonFiles {
    /// Reads those that are there.
    ///
    /// # Errors
    /// A file that cannot be read or is no JSON.
    pub(super) fn read(folder: &Path) -> Result<Self, TokenizerError> {
        let made = made_files(folder)?;
        let read = |name: &str| match made.get(name) {
            Some(bytes) => serde_json::from_slice(bytes).map_err(|source| TokenizerError::File {
                path: folder.to_owned(),
                source: Box::new(source),
            }),
            None => read(&folder.join(name)),
        };
        Ok(Self {
            folder: folder.to_owned(),
            settings: read("tokenizer_config.json")?,
            map: read("special_tokens_map.json")?,
            added: read("added_tokens.json")?,
            config: read("config.json")?,
            generation: read("generation_config.json")?,
            made,
        })
    }

    /// The path of a file of the folder.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// The files of a tokenizer that a GGUF file describes; none where `folder` is or holds no such file, or has a
/// tokenizer of its own.
fn made_files(folder: &Path) -> Result<BTreeMap<&'static str, Vec<u8>>, TokenizerError> {
    if folder.join("tokenizer.json").exists() {
        return Ok(BTreeMap::new());
    }
    let Ok(tensors) = TensorFolder::open(folder) else {
        return Ok(BTreeMap::new());
    };
    gguf::side_files(&tensors).map_err(|source| TokenizerError::File {
        path: folder.to_owned(),
        source: Box::new(source),
    })
}

fn read(path: &Path) -> Result<Value, TokenizerError> {
    if !path.exists() {
        return Ok(Value::Null);
    }
    json_file::read(path).map_err(|source| TokenizerError::File {
        path: path.to_owned(),
        source: Box::new(source),
    })
}
