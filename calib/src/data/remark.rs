//! What is worth saying about data that was read and used.

/// A remark on data: how many rows were left out, and why.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Remark {
    /// Changes what a figure means: a line on the terminal, and kept for the report.
    Note(String),
    /// Only of interest to who looks closely.
    Detail(String),
}

impl Remark {
    /// A note on `count` rows of `origin`, the first at `first_line`, that are left out for what they are.
    pub fn left_out(origin: &str, count: usize, first_line: usize, what: &str) -> Self {
        let (rows, verb) = if count == 1 {
            ("row", "is")
        } else {
            ("rows", "are")
        };
        Self::Note(format!(
            "`{origin}`: {count} {rows} {what} {verb} left out (the first at line {first_line})"
        ))
    }
}
