//! What has been measured of a space, on disk: a search goes on where it was left, and another one learns from it.

use super::space::Space;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Name of the file in the folder of a search.
pub const RECORD_FILE: &str = "search.json";

/// Version written, and the only one read.
const SCHEMA: u32 = 1;

/// A record that cannot be read or does not belong.
#[derive(Debug, Error)]
pub enum RecordError {
    /// A file that cannot be read or written; the path is in the message.
    #[error(transparent)]
    File(#[from] std::io::Error),
    /// Not a record.
    #[error("`{path}` is no record of a search")]
    Json {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A record of something else.
    #[error("`{path}`: expected the {what} `{expected}`, found `{found}`")]
    Other {
        /// The file.
        path: PathBuf,
        /// What differs.
        what: &'static str,
        /// Of this search.
        expected: String,
        /// Of the record.
        found: String,
    },
}

/// Everything measured so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Version of this file.
    pub schema: u32,
    /// Name of the space.
    pub space: String,
    /// BLAKE3 of its dimensions.
    pub space_hash: String,
    /// The model.
    pub model: String,
    /// SHA-256 of the recipe that is changed, with the data it names.
    pub recipe_sha256: String,
    /// The figure that is to be best.
    pub metric: String,
    /// That figure of the original model, where it has one.
    pub original: Option<f64>,
    /// In the order they were measured.
    pub measured: Vec<Measured>,
}

/// One configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    /// Its number.
    pub configuration: usize,
    /// The same in words.
    pub choices: String,
    /// The figure; nothing where the model cannot be quantized so.
    pub value: Option<f64>,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Stored bits of a weight of the quantized layers.
    pub bits_per_weight: Option<f64>,
    /// Quantizing and evaluating.
    pub seconds: f64,
}

impl Record {
    /// Nothing measured yet.
    pub fn new(space: &Space, model: &str, recipe_sha256: &str, metric: &str) -> Self {
        Self {
            schema: SCHEMA,
            space: space.name.clone(),
            space_hash: space.hash.clone(),
            model: model.to_owned(),
            recipe_sha256: recipe_sha256.to_owned(),
            metric: metric.to_owned(),
            original: None,
            measured: Vec::new(),
        }
    }

    /// Reads `path`.
    ///
    /// # Errors
    /// A file that cannot be read, or is no record.
    pub fn read(path: &Path) -> Result<Self, RecordError> {
        let text = fs_err::read_to_string(path)?;
        let record: Self = serde_json::from_str(&text).map_err(|source| RecordError::Json {
            path: path.to_owned(),
            source,
        })?;
        let other = |what, expected: &str, found: &str| RecordError::Other {
            path: path.to_owned(),
            what,
            expected: expected.to_owned(),
            found: found.to_owned(),
        };
        if record.schema != SCHEMA {
            let (expected, found) = (SCHEMA.to_string(), record.schema.to_string());
            return Err(other("schema", &expected, &found));
        }
        Ok(record)
    }

    /// Writes it whole or not at all.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), RecordError> {
        let text = serde_json::to_string_pretty(self).map_err(|source| RecordError::Json {
            path: path.to_owned(),
            source,
        })?;
        let partial = path.with_extension("json.partial");
        fs_err::write(&partial, text + "\n")?;
        Ok(fs_err::rename(&partial, path)?)
    }

    /// Checks that the record at `path` is one of `other`'s space and figure; and with `whole` of its model and recipe too.
    ///
    /// # Errors
    /// The first thing that differs.
    pub fn check(&self, other: &Self, path: &Path, whole: bool) -> Result<(), RecordError> {
        let pairs = [
            ("space", &other.space_hash, &self.space_hash, true),
            ("metric", &other.metric, &self.metric, true),
            ("model", &other.model, &self.model, whole),
            ("recipe", &other.recipe_sha256, &self.recipe_sha256, whole),
        ];
        for (what, expected, found, matters) in pairs {
            if matters && expected != found {
                return Err(RecordError::Other {
                    path: path.to_owned(),
                    what,
                    expected: expected.clone(),
                    found: found.clone(),
                });
            }
        }
        Ok(())
    }
}
