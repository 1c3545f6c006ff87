//! Text classification: one sentence, one class.

use super::classes;
use super::table_texts::{column, encode, rows_with_text, table, try_to_encode};
use super::task::{ConfiguredTask, Task, TaskInput, options};
use crate::error::TaskError;
use crate::kind::ModelKind;
use crate::runner::Wanted;
use crate::score::{Metric, Score};
use calib::data::DataError;
use calib::inputs::Inputs;
use serde::Deserialize;

/// Accuracy of class logits over the rows of a table, each sentence on its own.
#[derive(Debug, Clone, Copy)]
pub struct Classification;

const NAME: &str = "classification";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    #[serde(default)]
    columns: Columns,
    /// Tokens a sentence is cut at, special tokens included.
    max_length: Option<usize>,
}

/// Names of columns.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Columns {
    /// Text to classify.
    text: Option<String>,
    /// Class of a row, as number or name.
    label: Option<String>,
}

impl Task for Classification {
    fn name(&self) -> &'static str {
        NAME
    }

    fn summary(&self) -> &'static str {
        "class of each sentence of a table: accuracy, KL divergence, agreement"
    }

    fn parameters(&self) -> &'static [(&'static str, &'static str)] {
        &[
            ("columns", "names of the columns: { text, label }"),
            (
                "max_length",
                "tokens a sentence is cut at, special tokens included",
            ),
        ]
    }

    fn metrics(&self) -> &'static [Metric] {
        classes::METRICS
    }

    fn judges(&self, kind: ModelKind) -> bool {
        kind == ModelKind::TextClassifier
    }

    fn configure(&self, table: &toml::Table) -> Result<Box<dyn ConfiguredTask>, TaskError> {
        Ok(Box::new(options::<Options>(NAME, table)?))
    }
}

impl ConfiguredTask for Options {
    fn check(&self, input: &TaskInput<'_>) -> Result<(), TaskError> {
        let rows = self.rows(input)?;
        try_to_encode(NAME, input, self.max_length, &rows.texts)
    }

    fn run(&self, input: &TaskInput<'_>) -> Result<Vec<Score>, TaskError> {
        let Rows { texts, labels } = self.rows(input)?;
        let ids = Inputs::Tokens(encode(NAME, input, self.max_length, &texts)?);
        let models = input.subject.sides().count();
        input
            .progress
            .begin((texts.len() * models) as u64, "sentences");
        let logits = input
            .subject
            .rows(&ids, Wanted::ClassLogits, input.progress)?;
        classes::scores(&logits, &labels, input.seed)
    }
}

/// What is classified, row by row.
struct Rows<'a> {
    texts: Vec<&'a str>,
    /// Class numbers.
    labels: Vec<usize>,
}

impl Options {
    /// The rows that have text, with the class each label means.
    fn rows<'a>(&self, input: &TaskInput<'a>) -> Result<Rows<'a>, TaskError> {
        let table = table(input)?;
        let columns = &self.columns;
        let usual = ["sentence", "text", "text_a"];
        let text = column(table, columns.text.as_deref(), &usual);
        let usual = ["label", "labels", "class"];
        let label = column(table, columns.label.as_deref(), &usual);
        let (texts, labels) = (table.optional(text)?, table.optional(label)?);
        let kept = rows_with_text(table, &[text], input)?;
        let model = input.subject.model().ok_or(TaskError::NoModel)?;
        let known = classes::known(input, model)?;
        let number = |&row: &usize| {
            let found = labels[row].map(str::trim);
            let number = known.names.number(found.unwrap_or_default(), known.count);
            number.map_err(|expected| {
                TaskError::Data(DataError::Line {
                    path: table.origin().into(),
                    line: table.line(row),
                    expected: format!("in `{label}` {expected}"),
                    found: found.map_or_else(|| "nothing".to_owned(), |label| format!("`{label}`")),
                })
            })
        };
        Ok(Rows {
            labels: kept.iter().map(number).collect::<Result<_, _>>()?,
            texts: kept.iter().filter_map(|&row| texts[row]).collect(),
        })
    }
}
