//! Tables with one row per line: tab-separated and comma-separated, both with a header.

use super::{
    Content, DataError, DataSpec, Extent, Remark, Request, Source, Table, path_of, read_text,
};
use std::path::Path;

/// Tab-separated values. Quotes mean nothing: the data sets that come in this form never escape.
#[derive(Debug, Clone, Copy)]
pub struct TabSeparated;

impl Source for TabSeparated {
    fn name(&self) -> &'static str {
        "tsv"
    }

    fn summary(&self) -> &'static str {
        "tab-separated table with a header, quotes taken literally; `file.tsv#column`"
    }

    fn accepts(&self, spec: &DataSpec) -> bool {
        matches!(spec, DataSpec::Path { .. }) && spec.ending() == "tsv"
    }

    fn load(&self, spec: &DataSpec, request: &mut Request<'_>) -> Result<Content, DataError> {
        let (path, text) = read_text(spec)?;
        let (table, empty) = parse_tsv(path, &text)?;
        let remark =
            |first: &usize| Remark::left_out(table.origin(), empty.len(), *first, "of nothing");
        request.remarks.extend(empty.first().map(remark));
        Ok(Content::Table(table.with_text(spec.column())?))
    }

    fn extent(&self, spec: &DataSpec) -> Option<Extent> {
        Extent::of_lines(path_of(spec)?, 1)
    }
}

/// Comma-separated values as in RFC 4180: quoted cells may hold commas, quotes and line ends.
#[derive(Debug, Clone, Copy)]
pub struct CommaSeparated;

impl Source for CommaSeparated {
    fn name(&self) -> &'static str {
        "csv"
    }

    fn summary(&self) -> &'static str {
        "comma-separated table with a header (RFC 4180); `file.csv#column`"
    }

    fn accepts(&self, spec: &DataSpec) -> bool {
        matches!(spec, DataSpec::Path { .. }) && spec.ending() == "csv"
    }

    fn load(&self, spec: &DataSpec, _request: &mut Request<'_>) -> Result<Content, DataError> {
        let (path, text) = read_text(spec)?;
        Ok(Content::Table(
            parse_csv(path, &text)?.with_text(spec.column())?,
        ))
    }

    fn extent(&self, spec: &DataSpec) -> Option<Extent> {
        Extent::of_lines(path_of(spec)?, 1)
    }
}

/// The table, and the empty lines between its rows.
fn parse_tsv(path: &Path, text: &str) -> Result<(Table, Vec<usize>), DataError> {
    let mut lines = text.lines().enumerate();
    let names = header(
        path,
        lines
            .next()
            .map(|(_, line)| line.split('\t').map(str::to_owned)),
    )?;
    let width = names.len();
    let mut table = Table::new(path.display().to_string(), names);
    // Those after the last row are no rows that are missing.
    let (mut empty, mut waiting) = (Vec::new(), Vec::new());
    for (index, line) in lines {
        if line.is_empty() {
            waiting.push(index + 1);
            continue;
        }
        empty.append(&mut waiting);
        let found = line.split('\t').count();
        if found != width {
            return Err(width_error(path, index + 1, width, found));
        }
        table.push(index + 1, line.split('\t').map(str::to_owned));
    }
    Ok((table, empty))
}

fn parse_csv(path: &Path, text: &str) -> Result<Table, DataError> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(text.as_bytes());
    let mut records = reader.records();
    let unreadable = |error: csv::Error| DataError::Line {
        path: path.to_owned(),
        line: error.position().map_or(0, line_number),
        expected: "comma-separated values".to_owned(),
        found: error.to_string(),
    };
    let first = records.next().transpose().map_err(unreadable)?;
    let names = header(
        path,
        first.iter().next().map(|row| row.iter().map(str::to_owned)),
    )?;
    let width = names.len();
    let mut table = Table::new(path.display().to_string(), names);
    for record in records {
        let record = record.map_err(unreadable)?;
        let line = record.position().map_or(0, line_number);
        if record.len() != width {
            return Err(width_error(path, line, width, record.len()));
        }
        table.push(line, record.iter().map(str::to_owned));
    }
    Ok(table)
}

fn line_number(position: &csv::Position) -> usize {
    usize::try_from(position.line()).unwrap_or(usize::MAX)
}

fn header(
    path: &Path,
    names: Option<impl Iterator<Item = String>>,
) -> Result<Vec<String>, DataError> {
    let names: Vec<String> = names
        .into_iter()
        .flatten()
        .map(|name| name.trim().to_owned())
        .collect();
    let expected = "a header of different column names";
    let error = |found: &str| DataError::Line {
        path: path.to_owned(),
        line: 1,
        expected: expected.to_owned(),
        found: found.to_owned(),
    };
    if names.is_empty() {
        return Err(error("nothing"));
    }
    for (index, name) in names.iter().enumerate() {
        if names[..index].contains(name) {
            return Err(error(&format!("`{name}` twice")));
        }
    }
    Ok(names)
}

fn width_error(path: &Path, line: usize, expected: usize, found: usize) -> DataError {
    DataError::Line {
        path: path.to_owned(),
        line,
        expected: format!("{expected} columns"),
        found: found.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_in_tsv_are_letters() {
        let text = "score\tleft\tright\r\n4.2\ta \"U2\" sign\t\"open\r\n";
        let table = parse_tsv(Path::new("t.tsv"), text).unwrap().0;
        assert_eq!(table.names(), ["score", "left", "right"]);
        assert_eq!(table.column("left").unwrap(), ["a \"U2\" sign"]);
        assert_eq!(table.column("right").unwrap(), ["\"open"]);
    }

    #[test]
    fn quotes_in_csv_hold_commas_and_lines() {
        let text = "a,b\n\"x, \"\"y\"\"\nz\",2\n3,4\n";
        let table = parse_csv(Path::new("t.csv"), text).unwrap();
        assert_eq!(table.column("a").unwrap(), ["x, \"y\"\nz", "3"]);
    }

    #[test]
    fn a_short_row_names_its_line() {
        let error = parse_tsv(Path::new("t.tsv"), "a\tb\n1\t2\n3\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "`t.tsv` line 3: expected 2 columns, found 1"
        );
        let error = parse_csv(Path::new("t.csv"), "a,b\n\"1\n\",2\n3\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "`t.csv` line 4: expected 2 columns, found 1"
        );
    }

    #[test]
    fn headers_are_needed_and_unique() {
        assert!(parse_tsv(Path::new("t.tsv"), "").is_err());
        assert!(parse_csv(Path::new("t.csv"), "a,a\n1,2\n").is_err());
    }
}
