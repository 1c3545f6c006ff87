//! What can go wrong with a tokenizer.

use std::path::PathBuf;
use thiserror::Error;

/// A tokenizer that cannot be loaded or a text it cannot encode.
#[derive(Debug, Error)]
pub enum TokenizerError {
    /// The model folder has none.
    #[error("`{folder}` has no `tokenizer.json`{}", found(.others))]
    Missing {
        /// The model folder.
        folder: PathBuf,
        /// Tokenizer files of other kinds that are there.
        others: Vec<String>,
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
            Self::Missing { others, .. } if !others.is_empty() => Some(
                "transformers writes it: `AutoTokenizer.from_pretrained(x).save_pretrained(x)`"
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

fn found(others: &[String]) -> String {
    match others {
        [] => String::new(),
        others => format!(", only `{}`", others.join("`, `")),
    }
}
