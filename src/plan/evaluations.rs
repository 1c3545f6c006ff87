//! Which tasks run on the written files.

use super::{ModelFacts, ModelKind, PlanError, PlannedEvaluation};
use crate::recipe::{Evaluation, Recipe, RecipeError, names};
use eval::tasks::TASKS;

/// The tasks of a recipe, or the default for the kind of model; says in `notes` what is not measured.
pub(super) fn plan(
    recipe: &Recipe,
    model: &ModelFacts,
    notes: &mut Vec<String>,
) -> Result<Vec<PlannedEvaluation>, PlanError> {
    evaluations(&recipe.evaluations, recipe.eval_data.as_deref(), model, notes)
}

/// As [`plan`], for `quench eval`, which may have no recipe.
pub(crate) fn evaluations(
    tables: &[Evaluation],
    eval_data: Option<&str>,
    model: &ModelFacts,
    notes: &mut Vec<String>,
) -> Result<Vec<PlannedEvaluation>, PlanError> {
    if let Some(data) = eval_data {
        let Some(task) = task_for(model.kind) else {
            return Err(PlanError::Evaluation {
                because: "--eval-data".to_owned(),
                message: format!("no task judges an {}", model.kind.name()),
                hint: None,
            });
        };
        return Ok(vec![of_task(task, data, "--eval-data")]);
    }
    if !tables.is_empty() {
        return tables.iter().map(|evaluation| from_table(evaluation, model)).collect();
    }
    if model.kind == ModelKind::Decoder {
        notes.push("evaluated on text sampled from the original model; name real text with `--eval-data`".to_owned());
        return Ok(vec![of_task("perplexity", "synthetic", "default for decoders")]);
    }
    notes.push(format!(
        "no accuracy is measured: a {} needs data of its own, named with `--eval-data` or `[[evaluate]]`",
        model.kind.name()
    ));
    Ok(Vec::new())
}

/// The task that judges a kind of model on data of its own.
fn task_for(kind: ModelKind) -> Option<&'static str> {
    match kind {
        ModelKind::Decoder => Some("perplexity"),
        ModelKind::TextClassifier => Some("classification"),
        ModelKind::TextEncoder => Some("sentence_similarity"),
        ModelKind::ImageClassifier => Some("image_classification"),
        ModelKind::ImageEncoder => None,
    }
}

fn of_task(task: &str, data: &str, because: &str) -> PlannedEvaluation {
    let mut table = toml::Table::new();
    table.insert("task".to_owned(), toml::Value::String(task.to_owned()));
    table.insert("data".to_owned(), toml::Value::String(data.to_owned()));
    PlannedEvaluation { table, because: because.to_owned() }
}

fn from_table(
    evaluation: &Evaluation,
    model: &ModelFacts,
) -> Result<PlannedEvaluation, PlanError> {
    let line = evaluation.line;
    let Some(name) = evaluation.table.get("task").and_then(toml::Value::as_str) else {
        let section = "`[[evaluate]]`".to_owned();
        return Err(RecipeError::MissingKey { line, section, key: "task" }.into());
    };
    if !TASKS.iter().any(|task| task.name() == name) {
        return Err(RecipeError::UnknownName {
            line,
            what: "task",
            name: name.to_owned(),
            nearest: names::nearest(name, TASKS.iter().map(|task| task.name())),
        }
        .into());
    }
    let because = format!("recipe line {line}");
    match task_for(model.kind) {
        Some(fitting) if fitting == name => {}
        fitting => {
            return Err(PlanError::Evaluation {
                because,
                message: format!("task `{name}` does not judge a {}", model.kind.name()),
                hint: fitting.map(|fitting| format!("task `{fitting}` does")),
            });
        }
    }
    Ok(PlannedEvaluation { table: evaluation.table.clone(), because })
}
