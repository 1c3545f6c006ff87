//! What can go wrong with a tokenizer.

use std::path::PathBuf;
use thiserror::Error;

/// A tokenizer that cannot be loaded or a text it cannot encode.
#[derive(Debug, Error)]
pub enum TokenizerError {
    /// The model folder has none.
    #[error("`{folder}` has no tokenizer: no `tokenizer.json`, and no vocabulary of another kind")]
    Missing {
        /// The model folder.
        folder: PathBuf,
    },
    /// Vocabularies that the folder's class of tokenizer does not read, or not here.
    #[error("`{folder}` has {}, which is not known for the tokenizer class `{class}`", list(.files))]
    Class {
        /// The model folder.
        folder: PathBuf,
        /// The class its files name.
        class: String,
        /// The vocabularies.
        files: Vec<String>,
    },
    /// A value in a JSON file that does not hold what it should.
    #[error("`{path}`: `{key}`: expected {expected}, found {found}")]
    Content {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// What would do.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A file that cannot be read.
    #[error("cannot read `{path}`")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A `tokenizer.json` with something in it that this version does not know.
    #[error("cannot use `{path}`: {found}")]
    Unknown {
        /// The file.
        path: PathBuf,
        /// The part that is not known, in words.
        found: String,
    },
    /// A text or a list of ids the tokenizer refuses.
    #[error("`{path}` cannot {action}")]
    Refused {
        /// The tokenizer.
        path: PathBuf,
        /// `encode` or `decode`.
        action: &'static str,
        /// Why.
        #[source]
        source: tokenizers::Error,
    },
    /// A limit that leaves no room for text.
    #[error("max_length {found} leaves no room beside {special} special tokens")]
    NoRoom {
        /// The limit.
        found: usize,
        /// Tokens the tokenizer adds around every text.
        special: usize,
    },
}

impl TokenizerError {
    /// What the user may do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Class { .. } => Some(
                "name the class in `tokenizer_class` of tokenizer_config.json, or let transformers write `tokenizer.json`: `AutoTokenizer.from_pretrained(x).save_pretrained(x)`"
                    .to_owned(),
            ),
            Self::Unknown { .. } => Some(
                "a newer library wrote it, or it is damaged: save it with an older `tokenizers`, or get it again"
                    .to_owned(),
            ),
            Self::NoRoom { special, .. } => Some(format!("set `max_length` above {special}")),
            _ => None,
        }
    }
}

fn list(files: &[String]) -> String {
    let quoted: Vec<String> = files.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}
