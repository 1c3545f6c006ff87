//! The kinds of files a tokenizer is read from, the ones transformers would take first in front.
//!
//! A new kind is one file here, its `mod` line, and its line in [`FILES`].

mod tokenizer_json;
mod ranks;
mod sentencepiece;
mod byte_level;
mod word_pieces;

use super::TokenizerError;
use super::assembly::Assembled;
use super::json_files::JsonFiles;
use std::path::{Path, PathBuf};

pub(super) use tokenizer_json::load as load_json;

/// One kind of vocabulary file.
pub(super) trait VocabularyFile: Sync {
    /// File names of this kind, for messages.
    fn names(&self) -> &'static [&'static str];
    /// The file of this kind that makes a tokenizer of `class`; nothing where there is none.
    fn find(&self, class: &str, files: &JsonFiles) -> Option<PathBuf>;
    /// Reads it.
    ///
    /// # Errors
    /// A file that cannot be read or does not hold what its name says.
    fn read(
        &self,
        path: &Path,
        class: &str,
        files: &JsonFiles,
    ) -> Result<Assembled, TokenizerError>;
}

/// Every kind; the first that finds its file reads it.
static FILES: &[&dyn VocabularyFile] = &[
    &tokenizer_json::TokenizerJson,
    &sentencepiece::SentencePiece,
    &ranks::Ranks,
    &byte_level::ByteLevel,
    &word_pieces::WordPieces,
];

/// Reads the tokenizer of a folder; the path is that of the file it was read from.
///
/// # Errors
/// No file of a kind that fits the class, or one that cannot be read.
pub(super) fn read(class: &str, files: &JsonFiles) -> Result<(PathBuf, Assembled), TokenizerError> {
    let folder = files.folder.as_path();
    for kind in FILES {
        if let Some(path) = kind.find(class, files) {
            let read = kind.read(&path, class, files)?;
            return Ok((path, read));
        }
    }
    let names = FILES.iter().flat_map(|kind| kind.names());
    let there: Vec<String> = names
        .filter(|name| folder.join(name).exists())
        .map(|&name| name.to_owned())
        .collect();
    let folder = folder.to_owned();
    if there.is_empty() {
        return Err(TokenizerError::Missing { folder });
    }
    Err(TokenizerError::Class {
        folder,
        class: class.to_owned(),
        files: there,
    })
}

/// The first of `names` that is a file of `folder`.
fn first_of(folder: &Path, names: &[&str]) -> Option<PathBuf> {
    let mut paths = names.iter().map(|name| folder.join(name));
    paths.find(|path| path.is_file())
}

/// The error for a file whose content does not make a tokenizer.
fn unusable(path: &Path, source: tokenizers::Error) -> TokenizerError {
    TokenizerError::File {
        path: path.to_owned(),
        source,
    }
}

/// The bytes of `path`.
fn bytes_of(path: &Path) -> Result<Vec<u8>, TokenizerError> {
    let bytes = fs_err::read(path).map_err(|source| unusable(path, Box::new(source)))?;
    if quantizers::formats::is_lfs_pointer(&bytes) {
        let source = crate::json_file::JsonFileError::LfsPointer;
        return Err(unusable(path, Box::new(source)));
    }
    Ok(bytes)
}
