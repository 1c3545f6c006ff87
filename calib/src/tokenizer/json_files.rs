//! The JSON files of a model folder that say something of its tokenizer, read once.

use super::TokenizerError;
use crate::json_file;
use serde_json::Value;
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
}

impl JsonFiles {
    /// Reads those that are there.
    ///
    /// # Errors
    /// A file that cannot be read or is no JSON.
    pub(super) fn read(folder: &Path) -> Result<Self, TokenizerError> {
        let read = |name: &str| read(&folder.join(name));
        Ok(Self {
            folder: folder.to_owned(),
            settings: read("tokenizer_config.json")?,
            map: read("special_tokens_map.json")?,
            added: read("added_tokens.json")?,
            config: read("config.json")?,
            generation: read("generation_config.json")?,
        })
    }

    /// The path of a file of the folder.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
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
