//! `attention.json`: which keys a model attends to when it runs.

use super::run_files::{RunFileError, read_header};
use super::{ArtifactWriter, FormatError};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

const FILE: &str = "attention.json";
const VERSION: u32 = 1;

/// The file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttentionHeader {
    /// Version of the form.
    pub attention_version: u32,
    /// Name of the method.
    pub method: String,
    /// What was typed for it.
    pub parameters: Map<String, Value>,
    /// The model it was decided for.
    pub model: String,
    /// Blocks whose attention stays exact.
    pub kept_layers: Vec<usize>,
}

impl AttentionHeader {
    /// The version this program writes.
    pub const VERSION: u32 = VERSION;

    /// Adds the file to an artifact.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn write(&self, writer: &mut ArtifactWriter) -> Result<(), FormatError> {
        let json = serde_json::to_string_pretty(self).map_err(|source| FormatError::Json {
            file: PathBuf::from(FILE),
            source,
        })?;
        writer.file(FILE, (json + "\n").as_bytes())
    }

    /// What `folder` says; nothing where it says nothing.
    ///
    /// # Errors
    /// A file that cannot be read, is of another version, or names blocks beyond `layers`.
    pub fn read(folder: &Path, layers: usize) -> Result<Option<Self>, RunFileError> {
        let found = read_header(folder, FILE, ("attention_version", VERSION))?;
        let Some((file, header)): Option<(_, Self)> = found else {
            return Ok(None);
        };
        if let Some(far) = header.kept_layers.iter().find(|block| **block >= layers) {
            return Err(RunFileError::Content {
                file,
                place: "kept_layers".to_owned(),
                expected: format!("blocks 0 to {}", layers.saturating_sub(1)),
                found: far.to_string(),
            });
        }
        Ok(Some(header))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<AttentionHeader>, RunFileError> {
        let folder = tempfile::tempdir().unwrap();
        fs_err::write(folder.path().join(FILE), text).unwrap();
        AttentionHeader::read(folder.path(), 2)
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let good = r#"{"attention_version":1,"method":"hip","parameters":{"k":64},"model":"m","kept_layers":[1]}"#;
        assert_eq!(read(good).unwrap().unwrap().parameters["k"], 64);
        let message = |text: &str| read(text).unwrap_err().to_string();
        let later = message(&good.replace(":1,\"method", ":2,\"method"));
        assert!(
            later.ends_with("attention_version: expected 1, found 2"),
            "{later}"
        );
        let far = message(&good.replace("[1]", "[2]"));
        assert!(
            far.ends_with("kept_layers: expected blocks 0 to 1, found 2"),
            "{far}"
        );
        assert!(message(&good.replace("model", "modle")).ends_with("is not valid"));
        let empty = tempfile::tempdir().unwrap();
        assert!(AttentionHeader::read(empty.path(), 2).unwrap().is_none());
    }
}
