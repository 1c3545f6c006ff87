//! Sentences and labels of a table, as the text tasks read them.

use super::task::TaskInput;
use crate::error::TaskError;
use calib::data::{Content, DataError, Table};
use calib::model::Model;

/// The table that `input` holds.
pub(super) fn table<'a>(input: &TaskInput<'a>) -> Result<&'a Table, TaskError> {
    match input.content {
        Content::Table(table) => Ok(table),
        other => Err(of_another_kind(input, "a table", other)),
    }
}

/// The error for data of another kind than a task reads.
pub(super) fn of_another_kind(
    input: &TaskInput<'_>,
    expected: &'static str,
    content: &Content,
) -> TaskError {
    DataError::Kind {
        origin: input.origin.to_owned(),
        expected,
        found: content.kind(),
    }
    .into()
}

/// The named column, else the first of the usual names the table has.
pub(super) fn column<'a>(
    table: &'a Table,
    named: Option<&str>,
    usual: &[&str],
) -> Result<&'a [String], DataError> {
    let present = |name: &&&str| table.names().iter().any(|column| column == **name);
    let name = named.or_else(|| usual.iter().find(present).copied());
    table.column(name.unwrap_or(usual[0]))
}

/// Token ids of each text with special tokens, cut at the task's, else the tokenizer's, else the
/// model's limit.
pub(super) fn encode(
    task: &'static str,
    input: &TaskInput<'_>,
    max_length: Option<usize>,
    texts: &[String],
) -> Result<Vec<Vec<u32>>, TaskError> {
    let files = &input.subject.inputs;
    let tokenizer = files.tokenizer.as_ref().ok_or(TaskError::MissingFile {
        task,
        file: "tokenizer.json",
    })?;
    let positions = input.subject.model().and_then(Model::max_positions);
    let limit = max_length
        .or(files.sentence_length)
        .or(tokenizer.max_length());
    let limit = match (limit, positions) {
        (Some(limit), Some(positions)) => Some(limit.min(positions)),
        (limit, positions) => limit.or(positions),
    };
    texts
        .iter()
        .map(|text| {
            tokenizer
                .encode_special(text, limit)
                .map_err(TaskError::from)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_found_by_their_usual_names() {
        let mut table = Table::new("a.tsv", vec!["label".to_owned(), "text_a".to_owned()]);
        table.push(2, ["1".to_owned(), "fine".to_owned()]);
        let usual = ["sentence", "text", "text_a"];
        assert_eq!(column(&table, None, &usual).unwrap(), ["fine"]);
        assert_eq!(column(&table, Some("label"), &usual).unwrap(), ["1"]);
        assert!(column(&table, Some("text"), &usual).is_err());
        assert!(column(&table, None, &["score"]).is_err());
    }
}
