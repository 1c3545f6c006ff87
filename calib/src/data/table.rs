//! Named columns of text.

use super::DataError;
use quantizers::nearest::nearest;

/// A table held by column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    origin: String,
    names: Vec<String>,
    columns: Vec<Vec<String>>,
    /// Line of the file each row starts at.
    lines: Vec<usize>,
    text: Option<String>,
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
            column.push(cell);
            count += 1;
        }
        assert_eq!(count, self.columns.len(), "a row has one cell per column");
        self.lines.push(line);
    }

    /// Names the column of text, `None` where there is nothing to choose.
    ///
    /// # Errors
    /// No such column.
    pub fn with_text(mut self, column: Option<&str>) -> Result<Self, DataError> {
        if let Some(column) = column {
            self.index(column)?;
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

    /// The cells of `column`, one per row.
    ///
    /// # Errors
    /// No such column; the nearest name is given.
    pub fn column(&self, column: &str) -> Result<&[String], DataError> {
        Ok(&self.columns[self.index(column)?])
    }

    /// The cells of `column` as numbers.
    ///
    /// # Errors
    /// No such column, or a cell that is no finite number.
    pub fn numbers(&self, column: &str) -> Result<Vec<f64>, DataError> {
        let cells = self.column(column)?.iter().zip(&self.lines);
        let parse = |(cell, &line): (&String, &usize)| match cell.trim().parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(number),
            _ => Err(DataError::Line {
                path: self.origin.clone().into(),
                line,
                expected: format!("a number in `{column}`"),
                found: format!("`{cell}`"),
            }),
        };
        cells.map(parse).collect()
    }

    /// The cells of the column of text: the one named after `#`, or the only one.
    ///
    /// # Errors
    /// Several columns and none named.
    pub fn texts(&self) -> Result<&[String], DataError> {
        match (&self.text, self.columns.as_slice()) {
            (Some(column), _) => self.column(column),
            (None, [only]) => Ok(only),
            (None, _) => Err(DataError::ColumnNotNamed {
                origin: self.origin.clone(),
                columns: self.names.clone(),
            }),
        }
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
        assert_eq!(table.texts().unwrap(), ["a cat", "a dog"]);
    }
}
