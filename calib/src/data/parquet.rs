//! Parquet files, as data sets on the Hub are stored.

use super::objects::{Row, content};
use super::{Content, DataError, DataSpec, Extent, Request, Source, path_of, unknown_kind};
use crate::foreign_code::guarded;
use ::parquet::errors::ParquetError;
use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::schema::types::Type;
use quantizers::nearest::nearest;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;

/// A table or conversations in columns. A column that is named is the only one read.
#[derive(Debug, Clone, Copy)]
pub struct Parquet;

impl Source for Parquet {
    fn name(&self) -> &'static str {
        "parquet"
    }

    fn summary(&self) -> &'static str {
        "a table in columns (snappy, zstd or not compressed), or conversations; `file.parquet#column`"
    }

    fn accepts(&self, spec: &DataSpec) -> bool {
        matches!(spec, DataSpec::Path { .. }) && spec.ending() == "parquet"
    }

    fn load(&self, spec: &DataSpec, _request: &mut Request<'_>) -> Result<Content, DataError> {
        let path = path_of(spec).ok_or_else(|| unknown_kind(spec))?;
        content(path, rows(path, spec.column())?, spec.column())
    }

    fn extent(&self, spec: &DataSpec) -> Option<Extent> {
        let path = path_of(spec)?;
        let reader = guarded(|| open(path).ok()).ok().flatten()?;
        let rows = reader.metadata().file_metadata().num_rows();
        let names = column_names(&reader);
        let one_text = |name: &String| spec.column().is_none_or(|column| column == name);
        let chats = names
            .iter()
            .filter(|name| one_text(name))
            .any(|name| is_list(&reader, name));
        Some(Extent {
            bytes: fs_err::metadata(path).ok()?.len(),
            // Conversations are packed: their number says little.
            items: (!chats).then(|| usize::try_from(rows).ok()).flatten(),
        })
    }
}

type Reader = SerializedFileReader<std::fs::File>;

fn open(path: &Path) -> Result<Reader, DataError> {
    let file = fs_err::File::open(path).map_err(|source| super::file_error(path, source))?;
    SerializedFileReader::new(file.into()).map_err(|error| failed(path, &error))
}

fn failed(path: &Path, error: &ParquetError) -> DataError {
    damaged(path, error.to_string())
}

fn damaged(path: &Path, found: String) -> DataError {
    DataError::Content {
        path: path.to_owned(),
        key: "rows".to_owned(),
        expected: "a Parquet file".to_owned(),
        found,
    }
}

fn columns(reader: &Reader) -> &[Arc<Type>] {
    reader.metadata().file_metadata().schema().get_fields()
}

fn column_names(reader: &Reader) -> Vec<String> {
    columns(reader)
        .iter()
        .map(|column| column.name().to_owned())
        .collect()
}

fn is_list(reader: &Reader, name: &str) -> bool {
    let column = columns(reader).iter().find(|column| column.name() == name);
    column.is_some_and(|column| column.is_group())
}

/// All rows, with their numbers for lines.
fn rows(path: &Path, column: Option<&str>) -> Result<Vec<Row>, DataError> {
    // The reader is of another crate, and files come from anywhere.
    guarded(|| read(path, column)).unwrap_or_else(|message| Err(damaged(path, message)))
}

fn read(path: &Path, column: Option<&str>) -> Result<Vec<Row>, DataError> {
    let reader = open(path)?;
    let projection = column.map(|name| only(&reader, path, name)).transpose()?;
    let rows = reader
        .get_row_iter(projection)
        .map_err(|error| failed(path, &error))?;
    let mut read = Vec::new();
    for row in rows {
        let row = row.map_err(|error| failed(path, &error))?;
        if let Value::Object(row) = row.to_json_value() {
            read.push((read.len() + 1, row));
        }
    }
    Ok(read)
}

/// The schema with nothing but the column `name`.
fn only(reader: &Reader, path: &Path, name: &str) -> Result<Type, DataError> {
    let column = columns(reader).iter().find(|column| column.name() == name);
    let column = column.ok_or_else(|| {
        let columns = column_names(reader);
        DataError::Column {
            origin: path.display().to_string(),
            column: name.to_owned(),
            nearest: nearest(name, columns.iter().map(String::as_str)),
            columns,
        }
    })?;
    let schema = reader.metadata().file_metadata().schema().name();
    let schema = Type::group_type_builder(schema).with_fields(vec![Arc::clone(column)]);
    schema.build().map_err(|error| failed(path, &error))
}
