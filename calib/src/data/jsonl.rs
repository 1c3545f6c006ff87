//! Tables with one JSON object per line.

use super::{
    Cell, Content, DataError, DataSpec, Extent, Request, Source, Table, path_of, read_text,
};
use serde_json::{Map, Value};
use std::path::Path;

/// JSON lines. The keys of all objects together are the columns; a line need not have them all.
#[derive(Debug, Clone, Copy)]
pub struct JsonLines;

impl Source for JsonLines {
    fn name(&self) -> &'static str {
        "jsonl"
    }

    fn summary(&self) -> &'static str {
        "one JSON object per line, columns are their keys; `file.jsonl#key`"
    }

    fn accepts(&self, spec: &DataSpec) -> bool {
        matches!(spec, DataSpec::Path { .. }) && spec.ending() == "jsonl"
    }

    fn load(&self, spec: &DataSpec, _request: &mut Request<'_>) -> Result<Content, DataError> {
        let (path, text) = read_text(spec)?;
        Ok(Content::Table(
            parse(path, &text)?.with_text(spec.column())?,
        ))
    }

    fn extent(&self, spec: &DataSpec) -> Option<Extent> {
        Extent::of_lines(path_of(spec)?, 0)
    }
}

fn parse(path: &Path, text: &str) -> Result<Table, DataError> {
    let mut table = Table::new(path.display().to_string(), Vec::new());
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let object: Map<String, Value> =
            serde_json::from_str(line).map_err(|error| DataError::Line {
                path: path.to_owned(),
                line: index + 1,
                expected: "a JSON object".to_owned(),
                found: error.to_string(),
            })?;
        table.push_named(
            index + 1,
            object.into_iter().map(|(name, value)| (name, cell(value))),
        );
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_columns() {
        let text = "{\"text\": \"a\\tb\", \"label\": 1}\n\n{\"label\": 0, \"text\": \"c\"}\n";
        let table = parse(Path::new("t.jsonl"), text).unwrap();
        assert_eq!(table.names(), ["text", "label"]);
        assert_eq!(table.column("text").unwrap(), ["a\tb", "c"]);
        assert_eq!(table.numbers("label").unwrap(), [1.0, 0.0]);
    }

    #[test]
    fn keys_that_some_lines_lack_are_no_matter_until_they_are_asked_for() {
        let text = "{\"text\": \"a\", \"meta\": {\"n\": 1}}\n{\"text\": \"b\", \"id\": 7}\n";
        let table = parse(Path::new("t.jsonl"), text).unwrap();
        assert_eq!(table.column("text").unwrap(), ["a", "b"]);
        assert_eq!(
            table.column("id").unwrap_err().to_string(),
            "`t.jsonl` line 1: expected text in `id`, found no such key"
        );
        assert_eq!(
            table.column("meta").unwrap_err().to_string(),
            "`t.jsonl` line 1: expected text in `meta`, found an object"
        );
    }

    #[test]
    fn lines_that_are_no_objects_are_named() {
        let error = parse(Path::new("t.jsonl"), "{\"text\": \"a\"}\n[1]\n").unwrap_err();
        assert!(error.to_string().starts_with("`t.jsonl` line 2: "));
        assert!(matches!(
            parse(Path::new("t.jsonl"), "\n"),
            Err(DataError::NoRows { .. })
        ));
    }
}
