//! `tokenizer.json`: the whole tokenizer in one file.

use super::super::TokenizerError;
use super::super::assembly::Assembled;
use super::super::json_files::JsonFiles;
use super::super::parts;
use super::{VocabularyFile, bytes_of, first_of, unusable};
use crate::foreign_code::guarded;
use std::path::{Path, PathBuf};
use tokenizers::Tokenizer;

/// The kind.
pub(super) struct TokenizerJson;

impl VocabularyFile for TokenizerJson {
    fn names(&self) -> &'static [&'static str] {
        &["tokenizer.json"]
    }

    fn find(&self, _class: &str, files: &JsonFiles) -> Option<PathBuf> {
        let made = files.made.contains_key("tokenizer.json");
        let folder = || made.then(|| files.folder.clone());
        first_of(&files.folder, self.names()).or_else(folder)
    }

    fn read(
        &self,
        path: &Path,
        _class: &str,
        files: &JsonFiles,
    ) -> Result<Assembled, TokenizerError> {
        Ok(Assembled {
            tokenizer: match files.made.get("tokenizer.json") {
                Some(bytes) => from_bytes(bytes, path)?,
                None => load(path)?,
            },
            named: Vec::new(),
        })
    }
}

/// Reads a `tokenizer.json` without its padding and truncation: settings left in the file by whoever saved it.
///
/// # Errors
/// A file that cannot be read or is no tokenizer.
pub(in super::super) fn load(path: &Path) -> Result<Tokenizer, TokenizerError> {
    from_bytes(&bytes_of(path)?, path)
}

fn from_bytes(bytes: &[u8], path: &Path) -> Result<Tokenizer, TokenizerError> {
    let Ok(Ok(mut tokenizer)) = guarded(|| Tokenizer::from_bytes(bytes)) else {
        return Err(TokenizerError::Unknown {
            path: path.to_owned(),
            found: parts::explain(bytes),
        });
    };
    tokenizer.with_padding(None);
    let truncation = tokenizer.with_truncation(None);
    truncation.map_err(|source| unusable(path, source))?;
    Ok(tokenizer)
}
