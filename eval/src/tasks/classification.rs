//! Text classification: one sentence, one class.

use super::classes;
use super::table_texts::{column, encode, table};
use super::task::{ConfiguredTask, Task, TaskInput, options};
use crate::error::TaskError;
use crate::kind::ModelKind;
use crate::runner::Wanted;
use crate::score::{Metric, Score};
use calib::inputs::Inputs;
use serde::Deserialize;
use std::collections::BTreeMap;

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
    fn run(&self, input: &TaskInput<'_>) -> Result<Vec<Score>, TaskError> {
        let table = table(input)?;
        let columns = &self.columns;
        let usual = ["sentence", "text", "text_a"];
        let texts = column(table, columns.text.as_deref(), &usual)?;
        let labels = column(
            table,
            columns.label.as_deref(),
            &["label", "labels", "class"],
        )?;
        let texts = &texts[..texts.len().min(input.limit)];
        let ids = Inputs::Tokens(encode(NAME, input, self.max_length, texts)?);
        let models = input.subject.sides().count();
        input
            .progress
            .begin((texts.len() * models) as u64, "sentences");
        let logits = input
            .subject
            .rows(&ids, Wanted::ClassLogits, input.progress)?;
        let names = &input.subject.inputs.labels;
        let labels = numbers(&labels[..texts.len()], names, logits.width(), input.origin)?;
        classes::scores(&logits, &labels, input.seed)
    }
}

/// Class numbers of labels written as numbers or as names the model's config knows.
fn numbers(
    labels: &[String],
    names: &BTreeMap<String, usize>,
    classes: usize,
    origin: &str,
) -> Result<Vec<usize>, TaskError> {
    let label = |(at, text): (usize, &String)| {
        let text = text.trim();
        let number = names.get(text).copied().or_else(|| text.parse().ok());
        number
            .filter(|&number| number < classes)
            .ok_or_else(|| TaskError::Label {
                data: origin.to_owned(),
                row: at + 1,
                found: text.to_owned(),
                expected: format!("a number below {classes}, or a name in `label2id`"),
            })
    };
    labels.iter().enumerate().map(label).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_numbers_or_names_of_the_model() {
        let names = BTreeMap::from([("positive".to_owned(), 1), ("negative".to_owned(), 0)]);
        let labels = ["1", "negative", " 0"].map(str::to_owned);
        assert_eq!(numbers(&labels, &names, 2, "a.tsv").unwrap(), [1, 0, 0]);
        let error = numbers(&["2".to_owned()], &names, 2, "a.tsv")
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "`a.tsv` row 1: label `2`, expected a number below 2, or a name in `label2id`"
        );
    }
}
