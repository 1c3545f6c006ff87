//! Named columns of text.

use super::{DataError, Remark};
use quantizers::nearest::nearest;
use std::path::PathBuf;

/// A table held by column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    origin: String,
    names: Vec<String>,
    columns: Vec<Vec<Cell>>,
    /// Line of the file each row starts at.
    lines: Vec<usize>,
    text: Option<String>,
}

/// One cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    /// Text, numbers and flags as they are written.
    Text(String),
    /// JSON's `null`.
    Null,
    /// The row does not have this key.
    Absent,
    /// A list or an object, by its name in messages.
    Nested(&'static str),
}

/// The rows of a column of text that have some, and those that do not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Texts<'a> {
    /// Where the table was read.
    pub origin: &'a str,
    /// The column.
    pub column: &'a str,
    /// Text of the rows that have it, with the line of each.
    pub rows: Vec<(usize, &'a str)>,
    /// Lines of the rows whose cell is null or absent.
    pub missing: Vec<usize>,
}

impl Cell {
    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// What it is instead of text, for messages.
    fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Null => "null",
            Self::Absent => "no such key",
            Self::Nested(kind) => kind,
        }
    }
}

impl<'a> Texts<'a> {
    /// The texts alone.
    pub fn texts(&self) -> impl Iterator<Item = &'a str> {
        self.rows.iter().map(|(_, text)| *text)
    }

    /// Drops rows of nothing but white space, which count as missing from then on.
    ///
    /// # Errors
    /// No row is left.
    pub fn without_blanks(mut self) -> Result<Self, DataError> {
        let blank = |(_, text): &(usize, &str)| text.trim().is_empty();
        let blanks = self.rows.iter().filter(|row| blank(row));
        self.missing.extend(blanks.map(|(line, _)| *line));
        self.missing.sort_unstable();
        self.rows.retain(|row| !blank(row));
        self.require_some()?;
        Ok(self)
    }

    fn require_some(&self) -> Result<(), DataError> {
        if self.rows.is_empty() {
            return Err(DataError::NoText {
                origin: self.origin.to_owned(),
                column: self.column.to_owned(),
                rows: self.missing.len(),
            });
        }
        Ok(())
    }

    /// How many rows are missing, for the log and the report; nothing where all are there.
    pub fn remark(&self) -> Option<Remark> {
        let first = *self.missing.first()?;
        let what = format!("without text in `{}`", self.column);
        Some(Remark::left_out(
            self.origin,
            self.missing.len(),
            first,
            &what,
        ))
    }
}

impl Table {
    /// An empty table of the columns `names`; `origin` is named in errors.
    pub fn new(origin: impl Into<String>, names: Vec<String>) -> Self {
        let columns = vec![Vec::new(); names.len()];
        Self {
            origin: origin.into(),
            names,
            columns,
            lines: Vec::new(),
            text: None,
        }
    }

    /// Adds the row that starts at `line` of the file.
    ///
    /// # Panics
    /// `cells` has another length than the table has columns: readers check before.
    pub fn push(&mut self, line: usize, cells: impl IntoIterator<Item = String>) {
        let mut count = 0;
        for (column, cell) in self.columns.iter_mut().zip(cells) {
            column.push(Cell::Text(cell));
            count += 1;
        }
        assert_eq!(count, self.columns.len(), "a row has one cell per column");
        self.lines.push(line);
    }

    /// Adds the row at `line` with the cells it has, by name; a name not seen before becomes a column.
    pub(super) fn push_named(&mut self, line: usize, cells: impl Iterator<Item = (String, Cell)>) {
        let rows = self.lines.len();
        for (name, cell) in cells {
            let known = self.names.iter().position(|known| *known == name);
            let column = known.unwrap_or_else(|| {
                self.names.push(name);
                self.columns.push(vec![Cell::Absent; rows]);
                self.names.len() - 1
            });
            // The last of two cells of one name counts.
            self.columns[column].truncate(rows);
            self.columns[column].push(cell);
        }
        for column in &mut self.columns {
            column.resize(rows + 1, Cell::Absent);
        }
        self.lines.push(line);
    }

    /// Names the column of text, `None` where there is nothing to choose.
    ///
    /// # Errors
    /// No such column, or no row at all.
    pub fn with_text(mut self, column: Option<&str>) -> Result<Self, DataError> {
        if let Some(column) = column {
            self.index(column)?;
        }
        if self.lines.is_empty() {
            return Err(DataError::NoRows {
                origin: self.origin,
            });
        }
        self.text = column.map(str::to_owned);
        Ok(self)
    }

    /// Where the table was read.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Column names in file order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.lines.len()
    }

    /// The line of the file that row `row` starts at.
    ///
    /// # Panics
    /// `row` is not below [`Table::rows`].
    pub fn line(&self, row: usize) -> usize {
        self.lines[row]
    }

    /// The cells of `column`, one per row.
    ///
    /// # Errors
    /// No such column (the nearest name is given), or a row without text in it.
    pub fn column(&self, column: &str) -> Result<Vec<&str>, DataError> {
        let cells = self.columns[self.index(column)?].iter();
        cells
            .zip(&self.lines)
            .map(|(cell, &line)| cell.text().ok_or_else(|| self.no_text(column, line, cell)))
            .collect()
    }

    /// The text of `column`, row by row; nothing where the cell is null or absent.
    ///
    /// # Errors
    /// No such column (the nearest name is given), or a cell that is a list or an object.
    pub fn optional(&self, column: &str) -> Result<Vec<Option<&str>>, DataError> {
        let cells = self.columns[self.index(column)?].iter();
        cells
            .zip(&self.lines)
            .map(|(cell, &line)| match cell {
                Cell::Nested(_) => Err(self.no_text(column, line, cell)),
                cell => Ok(cell.text()),
            })
            .collect()
    }

    fn no_text(&self, column: &str, line: usize, cell: &Cell) -> DataError {
        DataError::Line {
            path: PathBuf::from(&self.origin),
            line,
            expected: format!("text in `{column}`"),
            found: cell.kind().to_owned(),
        }
    }

    /// The cells of `column` as numbers.
    ///
    /// # Errors
    /// No such column, or a cell that is no finite number.
    pub fn numbers(&self, column: &str) -> Result<Vec<f64>, DataError> {
        let cells = self.column(column)?.into_iter().zip(&self.lines);
        let parse = |(cell, &line): (&str, &usize)| match cell.trim().parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(number),
            _ => Err(DataError::Line {
                path: PathBuf::from(&self.origin),
                line,
                expected: format!("a number in `{column}`"),
                found: format!("`{cell}`"),
            }),
        };
        cells.map(parse).collect()
    }

    /// The rows of the column of text: the one named after `#`, or the only one.
    ///
    /// # Errors
    /// Several columns and none named, a cell that is a list or an object, not one row with text.
    pub fn texts(&self) -> Result<Texts<'_>, DataError> {
        let column = match (&self.text, self.names.as_slice()) {
            (Some(column), _) => column,
            (None, [only]) => only,
            (None, _) => {
                return Err(DataError::ColumnNotNamed {
                    origin: self.origin.clone(),
                    columns: self.names.clone(),
                });
            }
        };
        let mut texts = Texts {
            origin: &self.origin,
            column,
            rows: Vec::with_capacity(self.lines.len()),
            missing: Vec::new(),
        };
        for (cell, &line) in self.optional(column)?.into_iter().zip(&self.lines) {
            match cell {
                Some(text) => texts.rows.push((line, text)),
                None => texts.missing.push(line),
            }
        }
        texts.require_some()?;
        Ok(texts)
    }

    fn index(&self, column: &str) -> Result<usize, DataError> {
        self.names
            .iter()
            .position(|name| name == column)
            .ok_or_else(|| DataError::Column {
                origin: self.origin.clone(),
                column: column.to_owned(),
                nearest: nearest(column, self.names.iter().map(String::as_str)),
                columns: self.names.clone(),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new("t.tsv", vec!["sentence".to_owned(), "score".to_owned()]);
        table.push(2, ["a cat".to_owned(), "1.5".to_owned()]);
        table.push(3, ["a dog".to_owned(), "x".to_owned()]);
        table
    }

    #[test]
    fn columns_by_name_with_the_nearest_in_the_error() {
        let table = table();
        assert_eq!(table.column("sentence").unwrap(), ["a cat", "a dog"]);
        let error = table.column("sentense").unwrap_err();
        assert_eq!(
            error.to_string(),
            "`t.tsv` has no column `sentense`, found `sentence`, `score`"
        );
        assert_eq!(error.hint().unwrap(), "did you mean `sentence`?");
    }

    #[test]
    fn a_cell_that_is_no_number_names_its_line() {
        let error = table().numbers("score").unwrap_err();
        assert_eq!(
            error.to_string(),
            "`t.tsv` line 3: expected a number in `score`, found `x`"
        );
    }

    #[test]
    fn texts_need_a_name_where_there_is_a_choice() {
        let error = table().texts().unwrap_err();
        assert!(matches!(error, DataError::ColumnNotNamed { .. }));
        let table = table().with_text(Some("sentence")).unwrap();
        let texts = table.texts().unwrap();
        assert_eq!(texts.rows, [(2, "a cat"), (3, "a dog")]);
        assert_eq!(texts.remark(), None);
    }

    #[test]
    fn rows_of_any_keys_make_one_table_and_missing_text_is_counted() {
        let text = |text: &str| Cell::Text(text.to_owned());
        let mut table = Table::new("t.jsonl", Vec::new());
        let rows = [
            vec![("text", text("a")), ("meta", Cell::Nested("a list"))],
            vec![("text", Cell::Null)],
            vec![("other", text("x"))],
            vec![("text", text(" "))],
        ];
        for (at, row) in rows.into_iter().enumerate() {
            let named = row.into_iter().map(|(name, cell)| (name.to_owned(), cell));
            table.push_named(at + 1, named);
        }
        assert_eq!(table.names(), ["text", "meta", "other"]);
        let error = table.column("text").unwrap_err().to_string();
        assert_eq!(
            error,
            "`t.jsonl` line 2: expected text in `text`, found null"
        );
        assert!(table.optional("meta").is_err());
        let table = table.with_text(Some("text")).unwrap();
        let texts = table.texts().unwrap();
        assert_eq!(texts.missing, [2, 3]);
        let texts = texts.without_blanks().unwrap();
        assert_eq!((texts.rows.len(), &texts.missing[..]), (1, &[2, 3, 4][..]));
        let told = "`t.jsonl`: 3 rows without text in `text` are left out (the first at line 2)";
        assert_eq!(texts.remark(), Some(Remark::Note(told.to_owned())));
    }

    #[test]
    fn a_table_without_rows_or_without_text_is_an_error() {
        let table = Table::new("t.tsv", vec!["a".to_owned()]);
        assert!(matches!(
            table.with_text(None),
            Err(DataError::NoRows { .. })
        ));
        let mut table = Table::new("t.jsonl", Vec::new());
        table.push_named(1, [("a".to_owned(), Cell::Null)].into_iter());
        assert!(matches!(table.texts(), Err(DataError::NoText { .. })));
    }
}
