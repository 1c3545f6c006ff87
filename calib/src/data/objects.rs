//! Rows of named values, from whatever file: a table, or conversations where their keys say so.

use super::{Cell, Chats, Content, DataError, Table};
use serde_json::{Map, Value};
use std::path::Path;

/// A row with the line it starts at.
pub(super) type Row = (usize, Map<String, Value>);

/// What `rows` of the file `path` hold; `column` is the one named after `#`.
///
/// # Errors
/// No row, no such column, a conversation that is none.
pub(super) fn content(
    path: &Path,
    rows: Vec<Row>,
    column: Option<&str>,
) -> Result<Content, DataError> {
    let first = rows.first().map(|(_, row)| row);
    if let Some(key) = first.and_then(|row| Chats::key(row, column)) {
        return Ok(Content::Chats(Chats::read(path, rows, key)?));
    }
    table(path, rows)?.with_text(column).map(Content::Table)
}

/// The rows as a table. The keys of all of them together are the columns; a row need not have them all.
///
/// # Errors
/// No row.
pub(super) fn table(path: &Path, rows: Vec<Row>) -> Result<Table, DataError> {
    let mut table = Table::new(path.display().to_string(), Vec::new());
    for (line, row) in rows {
        let cells = row.into_iter().map(|(name, value)| (name, cell(value)));
        table.push_named(line, cells);
    }
    if table.rows() == 0 {
        return Err(DataError::NoRows {
            origin: path.display().to_string(),
        });
    }
    Ok(table)
}

/// Strings as they are, numbers and flags as they are written.
fn cell(value: Value) -> Cell {
    match value {
        Value::String(text) => Cell::Text(text),
        Value::Null => Cell::Null,
        Value::Array(_) => Cell::Nested("a list"),
        Value::Object(_) => Cell::Nested("an object"),
        Value::Bool(_) | Value::Number(_) => Cell::Text(value.to_string()),
    }
}
