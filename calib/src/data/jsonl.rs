//! Tables and conversations with one JSON object per line.

use super::objects::{Row, content};
use super::{Chats, Content, DataError, DataSpec, Extent, Request, Source, path_of, read_text};
use serde_json::{Map, Value};
use std::io::{BufRead, BufReader};
use std::path::Path;

/// JSON lines. The keys of all objects together are the columns; a line need not have them all.
#[derive(Debug, Clone, Copy)]
pub struct JsonLines;

impl Source for JsonLines {
    fn name(&self) -> &'static str {
        "jsonl"
    }

    fn summary(&self) -> &'static str {
        "one JSON object per line, columns are their keys, or conversations; `file.jsonl#key`"
    }

    fn accepts(&self, spec: &DataSpec) -> bool {
        matches!(spec, DataSpec::Path { .. }) && spec.ending() == "jsonl"
    }

    fn load(&self, spec: &DataSpec, _request: &mut Request<'_>) -> Result<Content, DataError> {
        let (path, text) = read_text(spec)?;
        content(path, parse(path, &text)?, spec.column())
    }

    fn extent(&self, spec: &DataSpec) -> Option<Extent> {
        let path = path_of(spec)?;
        let mut extent = Extent::of_lines(path, 0)?;
        // Conversations are packed: their number says little.
        if first_row(path).is_some_and(|row| Chats::key(&row, spec.column()).is_some()) {
            extent.items = None;
        }
        Some(extent)
    }
}

fn first_row(path: &Path) -> Option<Map<String, Value>> {
    let file = BufReader::new(fs_err::File::open(path).ok()?);
    let mut lines = file.lines().map_while(Result::ok);
    let line = lines.find(|line| !line.trim().is_empty())?;
    serde_json::from_str(&line).ok()
}

fn parse(path: &Path, text: &str) -> Result<Vec<Row>, DataError> {
    let lines = text.lines().enumerate();
    lines
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(index, line)| {
            let object = serde_json::from_str(line).map_err(|error| DataError::Line {
                path: path.to_owned(),
                line: index + 1,
                expected: "a JSON object".to_owned(),
                found: error.to_string(),
            })?;
            Ok((index + 1, object))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::Table;
    use super::super::objects::table;
    use super::*;

    fn parse(path: &Path, text: &str) -> Result<Table, DataError> {
        table(path, super::parse(path, text)?)
    }

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
