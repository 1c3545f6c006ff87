//! The data strings of a recipe: `path`, `hub:owner/name/file#column`, `synthetic`.

use super::DataError;
use crate::hub::RepoId;
use std::fmt;
use std::path::{Path, PathBuf};

/// File name endings of tables, the only ones a `#column` may follow.
pub(crate) const TABLE_ENDINGS: [&str; 4] = ["tsv", "csv", "jsonl", "parquet"];

/// Where data comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataSpec {
    /// A file, or a folder of class folders.
    Path {
        /// The file or folder.
        path: PathBuf,
        /// The column of text, for tables.
        column: Option<String>,
    },
    /// A file of a data set on the Hub.
    Hub {
        /// `owner/name`, with its revision.
        repo: RepoId,
        /// Path inside the repository.
        file: String,
        /// The column of text, for tables.
        column: Option<String>,
    },
    /// Token sequences sampled from the model itself.
    Synthetic,
    /// The text compiled into the program.
    Embedded,
}

impl DataSpec {
    /// Reads a data string; a relative path is taken from `base`.
    ///
    /// # Errors
    /// An empty string, or a `hub:` form without repository or file.
    pub fn parse(text: &str, base: &Path) -> Result<Self, DataError> {
        let spec = text.trim();
        if spec.is_empty() {
            return Err(DataError::Spec {
                spec: text.to_owned(),
                expected: "`path`, `hub:owner/name/file#column`, `synthetic` or `demo`",
                found: "nothing".to_owned(),
            });
        }
        if spec == "synthetic" {
            return Ok(Self::Synthetic);
        }
        if spec == "demo" {
            return Ok(Self::Embedded);
        }
        // A file of that very name is meant before a column is.
        if base.join(spec).exists() {
            return Ok(Self::Path {
                path: base.join(spec),
                column: None,
            });
        }
        let (place, column) = split_column(spec, base);
        let Some(place) = place.strip_prefix("hub:") else {
            return Ok(Self::Path {
                path: base.join(place),
                column,
            });
        };
        // owner/name[@revision]/path: a revision with a slash cannot be written here.
        let mut parts = place.splitn(3, '/');
        let (Some(owner), Some(name), Some(file)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(DataError::Spec {
                spec: text.to_owned(),
                expected: "`hub:owner/name/file`",
                found: format!("`{place}`"),
            });
        };
        let repo = RepoId::parse(&format!("{owner}/{name}"))?;
        if file.is_empty() {
            return Err(DataError::Spec {
                spec: text.to_owned(),
                expected: "a file after the repository",
                found: "none".to_owned(),
            });
        }
        Ok(Self::Hub {
            repo,
            file: file.to_owned(),
            column,
        })
    }

    /// The column named after `#`.
    pub fn column(&self) -> Option<&str> {
        match self {
            Self::Path { column, .. } | Self::Hub { column, .. } => column.as_deref(),
            Self::Synthetic | Self::Embedded => None,
        }
    }

    /// The ending of the file name in lower case, empty where there is none.
    pub fn ending(&self) -> String {
        let name = match self {
            Self::Path { path, .. } => path.as_path(),
            Self::Hub { file, .. } => Path::new(file),
            Self::Synthetic | Self::Embedded => Path::new(""),
        };
        name.extension()
            .map_or_else(String::new, |e| e.to_string_lossy().to_lowercase())
    }
}

impl fmt::Display for DataSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path { path, .. } => write!(f, "{}", path.display())?,
            Self::Hub { repo, file, .. } => write!(f, "hub:{repo}/{file}")?,
            Self::Synthetic => write!(f, "synthetic")?,
            Self::Embedded => write!(f, "demo")?,
        }
        match self.column() {
            Some(column) => write!(f, "#{column}"),
            None => Ok(()),
        }
    }
}

/// Splits `table.tsv#column`; a `#` after any other name belongs to the name, unless what is before it is a
/// file here.
fn split_column<'s>(spec: &'s str, base: &Path) -> (&'s str, Option<String>) {
    if let Some((place, column)) = spec.rsplit_once('#') {
        if base.join(place).is_file() {
            return (place, Some(column.to_owned()));
        }
        let ending = place
            .rsplit_once('.')
            .map(|(_, ending)| ending.to_lowercase());
        if ending.is_some_and(|ending| TABLE_ENDINGS.contains(&ending.as_str())) {
            return (place, Some(column.to_owned()));
        }
    }
    (spec, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> DataSpec {
        DataSpec::parse(text, Path::new("recipes")).unwrap()
    }

    #[test]
    fn paths_are_relative_to_the_base() {
        let spec = parse("sst2/dev.tsv#sentence");
        let path = PathBuf::from("recipes/sst2/dev.tsv");
        assert_eq!(
            spec,
            DataSpec::Path {
                path,
                column: Some("sentence".to_owned())
            }
        );
        assert_eq!(spec.to_string(), "recipes/sst2/dev.tsv#sentence");
        let path = PathBuf::from("/data/a#b.txt");
        assert_eq!(
            parse("/data/a#b.txt"),
            DataSpec::Path { path, column: None }
        );
    }

    #[test]
    fn hub_files_keep_folders_and_revision() {
        let spec = parse("hub:owner/name@v2/data/train.jsonl#text");
        assert_eq!(spec.to_string(), "hub:owner/name@v2/data/train.jsonl#text");
        assert_eq!(spec.ending(), "jsonl");
        let DataSpec::Hub { repo, file, column } = spec else {
            panic!("a hub file")
        };
        assert_eq!(
            (repo.revision(), file.as_str()),
            (Some("v2"), "data/train.jsonl")
        );
        assert_eq!(column.as_deref(), Some("text"));
    }

    #[test]
    fn incomplete_strings_are_refused() {
        for text in ["", "  ", "hub:owner", "hub:owner/name", "hub:owner/name/"] {
            assert!(DataSpec::parse(text, Path::new(".")).is_err(), "{text:?}");
        }
    }
}
