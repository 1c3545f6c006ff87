//! Data sources: from a string in a recipe to text, tables, images or tokens.
//!
//! A new source is one file here, its `mod` line, and its line in [`SOURCES`].

mod error;
mod extent;
mod remark;
mod spec;
mod table;
mod chats;
mod objects;
mod text;
mod delimited;
mod jsonl;
#[cfg(feature = "parquet")]
mod parquet;
mod rgb;
mod picture;
mod images;
mod image_folder;
mod image_tensors;
mod synthetic;
mod hub_file;

pub use chats::{Chat, Chats};
pub use delimited::{CommaSeparated, TabSeparated};
pub use error::DataError;
pub use extent::Extent;
pub use hub_file::HubFile;
pub use image_folder::ImageFolder;
pub use image_tensors::ImageTensors;
pub use images::ImageSet;
pub use jsonl::JsonLines;
#[cfg(feature = "parquet")]
pub use parquet::Parquet;
pub use remark::Remark;
pub use rgb::Rgb;
pub use spec::DataSpec;
pub use synthetic::{NoSampler, Sampler, Synthetic, TokenSampler};
pub use table::{Cell, Table, Texts};
pub use text::{Embedded, PlainText};

use crate::hub::{FetchOptions, HubProgress};
use quantizers::formats::is_lfs_pointer;
use std::io::Read;
use std::path::Path;

/// Bytes of a file that say whether it stands for another.
const HEAD: u64 = 100;

/// What a source holds.
#[derive(Debug)]
pub enum Content {
    /// Plain text.
    Text(String),
    /// Named columns.
    Table(Table),
    /// Lists of messages.
    Chats(Chats),
    /// Labelled images.
    Images(ImageSet),
    /// Token sequences, ready to run.
    Tokens(Vec<Vec<u32>>),
}

impl Content {
    /// What it is, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Table(_) => "a table",
            Self::Chats(_) => "conversations",
            Self::Images(_) => "images",
            Self::Tokens(_) => "token sequences",
        }
    }
}

/// What a source may need besides its own string.
pub struct Request<'a> {
    /// Sequences wanted; only sources that make their data look at it.
    pub samples: usize,
    /// Tokens of each.
    pub sequence_length: usize,
    /// Seed of everything random.
    pub seed: u64,
    /// The model as a maker of data.
    pub sampler: &'a mut dyn Sampler,
    /// How to reach the Hub.
    pub hub: &'a FetchOptions,
    /// Receives the progress of downloads.
    pub progress: &'a dyn HubProgress,
    /// What sources have to say besides the data.
    pub remarks: Vec<Remark>,
}

/// One kind of data.
pub trait Source: Sync {
    /// Name in `quench list data`.
    fn name(&self) -> &'static str;
    /// One line for help.
    fn summary(&self) -> &'static str;
    /// Whether this source reads `spec`; folders are looked at, files only by name.
    fn accepts(&self, spec: &DataSpec) -> bool;
    /// Reads it.
    ///
    /// # Errors
    /// Files that cannot be had or do not hold what their name says.
    fn load(&self, spec: &DataSpec, request: &mut Request<'_>) -> Result<Content, DataError>;
    /// How much there is of it, for estimates; nothing where that is not known without loading it.
    fn extent(&self, _spec: &DataSpec) -> Option<Extent> {
        None
    }
}

/// Every source; the first that accepts a string reads it.
pub static SOURCES: &[&dyn Source] = &[
    &PlainText,
    &TabSeparated,
    &CommaSeparated,
    &JsonLines,
    #[cfg(feature = "parquet")]
    &Parquet,
    &ImageFolder,
    &ImageTensors,
    &HubFile,
    &Synthetic,
    &Embedded,
];

/// Reads `spec` with the first source that accepts it.
///
/// # Errors
/// No source accepts it, or the one that does cannot read it.
pub fn load(spec: &DataSpec, request: &mut Request<'_>) -> Result<Content, DataError> {
    if let DataSpec::Path { path, .. } = spec {
        fs_err::metadata(path).map_err(|source| file_error(path, source))?;
        refuse_lfs_pointer(path)?;
    }
    let source = SOURCES.iter().find(|source| source.accepts(spec));
    source
        .ok_or_else(|| unknown_kind(spec))?
        .load(spec, request)
}

/// A clone without Git LFS leaves files that look like text of three lines.
fn refuse_lfs_pointer(path: &Path) -> Result<(), DataError> {
    if path.is_dir() {
        return Ok(());
    }
    let mut head = Vec::new();
    fs_err::File::open(path)
        .and_then(|file| file.take(HEAD).read_to_end(&mut head))
        .map_err(|source| file_error(path, source))?;
    if is_lfs_pointer(&head) {
        return Err(DataError::LfsPointer {
            path: path.to_owned(),
        });
    }
    Ok(())
}

/// How much `spec` holds, as far as that is known without reading it.
pub fn extent(spec: &DataSpec) -> Option<Extent> {
    let source = SOURCES.iter().find(|source| source.accepts(spec));
    source.and_then(|source| source.extent(spec))
}

/// The path of a [`DataSpec::Path`].
fn path_of(spec: &DataSpec) -> Option<&Path> {
    match spec {
        DataSpec::Path { path, .. } => Some(path),
        _ => None,
    }
}

/// The error for data that no source reads.
pub fn unknown_kind(spec: &DataSpec) -> DataError {
    let names: Vec<&str> = SOURCES.iter().map(|source| source.name()).collect();
    DataError::UnknownKind {
        origin: spec.to_string(),
        expected: format!("one of {}", names.join(", ")),
    }
}

/// The path of a [`DataSpec::Path`] and the text of its file, without a byte order mark.
fn read_text(spec: &DataSpec) -> Result<(&Path, String), DataError> {
    let DataSpec::Path { path, .. } = spec else {
        return Err(unknown_kind(spec));
    };
    let bytes = fs_err::read(path).map_err(|source| file_error(path, source))?;
    let mut text = String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let found = match error.as_bytes() {
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "UTF-16".to_owned(),
            bytes => format!("the byte 0x{:02x}", bytes[good.len()]),
        };
        DataError::Line {
            path: path.clone(),
            line: 1 + String::from_utf8_lossy(good).matches('\n').count(),
            expected: "UTF-8 text".to_owned(),
            found,
        }
    })?;
    if text.starts_with('\u{feff}') {
        text.remove(0);
    }
    Ok((path, text))
}

fn file_error(path: &Path, source: std::io::Error) -> DataError {
    DataError::File {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::Silent;

    fn load_from(spec: &DataSpec) -> Result<Content, DataError> {
        load(
            spec,
            &mut Request {
                samples: 1,
                sequence_length: 8,
                seed: 0,
                sampler: &mut NoSampler,
                hub: &FetchOptions {
                    offline: true,
                    ..FetchOptions::default()
                },
                progress: &Silent,
                remarks: Vec::new(),
            },
        )
    }

    #[test]
    fn names_and_summaries_are_present_and_names_unique() {
        for (index, source) in SOURCES.iter().enumerate() {
            assert!(!source.summary().is_empty());
            assert!(
                SOURCES[..index]
                    .iter()
                    .all(|other| other.name() != source.name())
            );
        }
    }

    #[test]
    fn files_are_read_by_their_ending() {
        let folder = tempfile::tempdir().unwrap();
        let parse = |name: &str| DataSpec::parse(name, folder.path()).unwrap();
        fs_err::write(folder.path().join("a.txt"), "\u{feff}hello").unwrap();
        fs_err::write(folder.path().join("a.tsv"), "x\ty\n1\t2\n").unwrap();
        assert!(matches!(load_from(&parse("a.txt")).unwrap(), Content::Text(t) if t == "hello"));
        let Content::Table(table) = load_from(&parse("a.tsv#y")).unwrap() else {
            panic!("table")
        };
        assert!(table.texts().unwrap().texts().eq(["2"]));
        assert!(matches!(
            load_from(&parse("a.tsv#z")),
            Err(DataError::Column { .. })
        ));
        fs_err::write(folder.path().join("latin.txt"), b"one\ntw\xe9\n").unwrap();
        let error = load_from(&parse("latin.txt")).unwrap_err().to_string();
        let told = "line 2: expected UTF-8 text, found the byte 0xe9";
        assert!(error.ends_with(told), "{error}");
        fs_err::write(folder.path().join("a.xlsx"), "PK").unwrap();
        assert!(matches!(
            load_from(&parse("a.xlsx")),
            Err(DataError::UnknownKind { .. })
        ));
        assert!(matches!(
            load_from(&parse("b.txt")),
            Err(DataError::File { .. })
        ));
        assert!(matches!(
            load_from(&parse("synthetic")),
            Err(DataError::NotADecoder { .. })
        ));
    }
}
