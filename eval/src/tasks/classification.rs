//! Text classification: one sentence, one class.

use super::{Progress, Side, Task, TaskError, TaskSpec, classes};
use crate::runner::Wanted;
use crate::score::Score;
use crate::subject::Subject;
use calib::data::{Content, DataError, Table};
use calib::inputs::Inputs;
use calib::model::{Model, Output};
use std::collections::BTreeMap;

/// Accuracy of class logits over the rows of a table, each sentence on its own.
#[derive(Debug, Clone, Copy)]
pub struct Classification;

const NAME: &str = "classification";

impl Task for Classification {
    fn name(&self) -> &'static str {
        NAME
    }

    fn summary(&self) -> &'static str {
        "class of each sentence of a table: accuracy, KL divergence, agreement"
    }

    fn metrics(&self) -> &'static [&'static str] {
        classes::METRICS
    }

    fn keys(&self) -> &'static [&'static str] {
        &["columns.text", "columns.label", "max_length"]
    }

    fn output(&self) -> Output {
        Output::ClassLogits
    }

    fn run(
        &self,
        subject: &Subject<'_>,
        spec: &TaskSpec,
        content: &Content,
        seed: u64,
        progress: &dyn Progress,
    ) -> Result<Vec<Score>, TaskError> {
        let Content::Table(table) = content else {
            return Err(not_a_table(spec, content));
        };
        let texts = column(
            table,
            spec.columns.text.as_deref(),
            &["sentence", "text", "text_a"],
        )?;
        let labels = column(
            table,
            spec.columns.label.as_deref(),
            &["label", "labels", "class"],
        )?;
        let texts = &texts[..texts.len().min(spec.limit.unwrap_or(usize::MAX))];
        let inputs = Inputs::Tokens(encode(NAME, subject, spec, texts)?);
        let models = [
            (&subject.original, Side::Original),
            (&subject.quantized, Side::Quantized),
        ];
        let present = models.iter().filter(|(runner, _)| runner.is_some()).count();
        progress.begin((texts.len() * present) as u64, "sentences");
        let mut logits = [None, None];
        for (slot, (runner, side)) in logits.iter_mut().zip(models) {
            if let Some(runner) = runner {
                *slot = Some(runner.rows(side, &inputs, Wanted::ClassLogits, progress)?);
            }
        }
        let classes = logits
            .iter()
            .flatten()
            .flatten()
            .map(Vec::len)
            .min()
            .unwrap_or(0);
        let labels = numbers(
            &labels[..texts.len()],
            &subject.inputs.labels,
            classes,
            spec,
        )?;
        classes::scores(logits[0].as_deref(), logits[1].as_deref(), &labels, seed)
    }
}

/// Token ids of each text with special tokens, cut at the task's, else the tokenizer's, else the
/// model's limit.
pub(super) fn encode(
    task: &'static str,
    subject: &Subject<'_>,
    spec: &TaskSpec,
    texts: &[String],
) -> Result<Vec<Vec<u32>>, TaskError> {
    let tokenizer = subject.inputs.tokenizer.as_ref();
    let tokenizer = tokenizer.ok_or(TaskError::MissingFile {
        task,
        file: "tokenizer.json",
    })?;
    let positions = subject.model().and_then(Model::max_positions);
    let limit = spec
        .max_length
        .or(subject.inputs.sentence_length)
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

pub(super) fn not_a_table(spec: &TaskSpec, content: &Content) -> TaskError {
    let origin = spec.data.clone();
    DataError::Kind {
        origin,
        expected: "a table",
        found: content.kind(),
    }
    .into()
}

/// Class numbers of labels written as numbers or as names the model's config knows.
fn numbers(
    labels: &[String],
    names: &BTreeMap<String, usize>,
    classes: usize,
    spec: &TaskSpec,
) -> Result<Vec<usize>, TaskError> {
    let label = |(at, text): (usize, &String)| {
        let text = text.trim();
        let number = names.get(text).copied().or_else(|| text.parse().ok());
        number
            .filter(|&number| number < classes)
            .ok_or_else(|| TaskError::Label {
                data: spec.data.clone(),
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
        let spec = TaskSpec::new(NAME, "a.tsv");
        let labels = ["1", "negative", " 0"].map(str::to_owned);
        assert_eq!(numbers(&labels, &names, 2, &spec).unwrap(), [1, 0, 0]);
        let error = numbers(&["2".to_owned()], &names, 2, &spec)
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "`a.tsv` row 1: label `2`, expected a number below 2, or a name in `label2id`"
        );
    }

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
