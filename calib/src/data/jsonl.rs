//! Tables with one JSON object per line.

use super::{Content, DataError, DataSpec, Request, Source, Table, read_text};
use serde_json::{Map, Value};
use std::path::Path;

/// JSON lines. The keys of the first object are the columns; each later line must have them.
#[derive(Debug, Clone, Copy)]
pub struct JsonLines;

impl Source for JsonLines {
    fn name(&self) -> &'static str {
        "jsonl"
    }

    fn summary(&self) -> &'static str {
        "one JSON object per line, columns are the keys of the first; `file.jsonl#key`"
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
}

fn parse(path: &Path, text: &str) -> Result<Table, DataError> {
    let mut table: Option<Table> = None;
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let line_error = |expected: &str, found: String| DataError::Line {
            path: path.to_owned(),
            line: index + 1,
            expected: expected.to_owned(),
            found,
        };
        let object: Map<String, Value> = serde_json::from_str(line)
            .map_err(|error| line_error("a JSON object", error.to_string()))?;
        let table = table.get_or_insert_with(|| {
            Table::new(path.display().to_string(), object.keys().cloned().collect())
        });
        let mut cells = Vec::with_capacity(table.names().len());
        for name in table.names() {
            let value = object
                .get(name)
                .ok_or_else(|| line_error(&format!("the key `{name}`"), "none".to_owned()))?;
            cells.push(cell(value));
        }
        table.push(index + 1, cells);
    }
    table.ok_or_else(|| DataError::Line {
        path: path.to_owned(),
        line: 1,
        expected: "a JSON object".to_owned(),
        found: "nothing".to_owned(),
    })
}

/// Strings as they are, everything else as its JSON text.
fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
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
    fn bad_lines_are_named() {
        let error = parse(
            Path::new("t.jsonl"),
            "{\"text\": \"a\"}\n{\"txt\": \"b\"}\n",
        )
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "`t.jsonl` line 2: expected the key `text`, found none"
        );
        assert!(parse(Path::new("t.jsonl"), "[1]\n").is_err());
        assert!(parse(Path::new("t.jsonl"), "\n").is_err());
    }
}
