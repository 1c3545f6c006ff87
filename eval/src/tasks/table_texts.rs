//! Sentences and labels of a table, as the text tasks read them.

use super::task::TaskInput;
use crate::error::TaskError;
use calib::data::{Content, DataError, Remark, Table};
use calib::inputs::check_tokens;
use calib::model::Model;

/// Rows that are tried before any work.
pub(super) const TRIED: usize = 32;

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

/// The named column, else the first of the usual names the table has, else the first of them, which it has not.
pub(super) fn column<'n>(table: &Table, named: Option<&'n str>, usual: &[&'n str]) -> &'n str {
    let present = |name: &&&str| table.names().iter().any(|column| column == **name);
    let name = named.or_else(|| usual.iter().find(present).copied());
    name.unwrap_or(usual[0])
}

/// The rows that have text in all of `columns`, by number; says how many have not.
pub(super) fn rows_with_text(
    table: &Table,
    columns: &[&str],
    input: &TaskInput<'_>,
) -> Result<Vec<usize>, TaskError> {
    let mut kept: Vec<usize> = (0..table.rows()).collect();
    for column in columns {
        let cells = table.optional(column)?;
        let (with, without): (Vec<usize>, Vec<usize>) = kept
            .into_iter()
            .partition(|&row| cells[row].is_some_and(|text| !text.trim().is_empty()));
        if with.is_empty() {
            return Err(DataError::NoText {
                origin: table.origin().to_owned(),
                column: (*column).to_owned(),
                rows: table.rows(),
            }
            .into());
        }
        if let Some(&first) = without.first() {
            input.progress.remark(&Remark::left_out(
                table.origin(),
                without.len(),
                table.line(first),
                &format!("without text in `{column}`"),
            ));
        }
        kept = with;
    }
    kept.truncate(input.taken(kept.len(), "rows")?);
    Ok(kept)
}

/// Token ids of each text with special tokens, cut at the task's, else the tokenizer's, else the
/// model's limit.
pub(super) fn encode(
    task: &'static str,
    input: &TaskInput<'_>,
    max_length: Option<usize>,
    texts: &[&str],
) -> Result<Vec<Vec<u32>>, TaskError> {
    let files = &input.subject.inputs;
    let tokenizer = files.tokenizer.as_ref().ok_or(TaskError::MissingFile {
        task,
        file: "tokenizer.json",
    })?;
    let model = input.subject.model();
    let positions = model.and_then(Model::max_positions);
    let limit = max_length
        .or(files.sentence_length)
        .or(tokenizer.max_length());
    let limit = match (limit, positions) {
        (Some(limit), Some(positions)) => Some(limit.min(positions)),
        (limit, positions) => limit.or(positions),
    };
    let ids: Vec<Vec<u32>> = texts
        .iter()
        .map(|text| tokenizer.encode_special(text, limit))
        .collect::<Result<_, _>>()?;
    let table = model.and_then(Model::vocabulary);
    check_tokens(&ids, table, Some(tokenizer), input.origin)?;
    Ok(ids)
}

/// Tries the first of `texts`; all of them where the tokenizer has tokens that the model has no vector for.
pub(super) fn try_to_encode(
    task: &'static str,
    input: &TaskInput<'_>,
    max_length: Option<usize>,
    texts: &[&str],
) -> Result<(), TaskError> {
    let rows = input.subject.model().and_then(Model::vocabulary);
    let tokenizer = input.subject.inputs.tokenizer.as_ref();
    let all = matches!((rows, tokenizer), (Some(rows), Some(tokenizer)) if tokenizer.reaches(rows));
    let tried = if all {
        texts.len()
    } else {
        texts.len().min(TRIED)
    };
    encode(task, input, max_length, &texts[..tried]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_found_by_their_usual_names() {
        let mut table = Table::new("a.tsv", vec!["label".to_owned(), "text_a".to_owned()]);
        table.push(2, ["1".to_owned(), "fine".to_owned()]);
        let usual = ["sentence", "text", "text_a"];
        assert_eq!(column(&table, None, &usual), "text_a");
        assert_eq!(column(&table, Some("label"), &usual), "label");
        assert_eq!(column(&table, Some("text"), &usual), "text");
        assert!(table.column(column(&table, None, &["score"])).is_err());
    }
}
