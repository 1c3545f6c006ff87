//! Which tasks run on the written files.

use super::{ModelFacts, ModelKind, PlanError, PlannedEvaluation};
use crate::recipe::{Evaluation, Recipe};
use eval::tasks::TaskSpec;

/// The tasks of a recipe, or the default for the kind of model; says in `notes` what is not measured.
pub(super) fn plan(
    recipe: &Recipe,
    model: &ModelFacts,
    notes: &mut Vec<String>,
) -> Result<Vec<PlannedEvaluation>, PlanError> {
    if !recipe.evaluate {
        return Ok(Vec::new());
    }
    evaluations(
        &recipe.evaluations,
        recipe.eval_data.as_deref(),
        model,
        notes,
    )
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
                message: format!("no task judges {}", a(model.kind)),
                hint: None,
            });
        };
        let because = if data == "demo" {
            "comes with the program"
        } else {
            "--eval-data"
        };
        return Ok(vec![of_task(task, data, because)]);
    }
    if !tables.is_empty() {
        return tables
            .iter()
            .map(|evaluation| from_recipe(evaluation, model))
            .collect();
    }
    if model.kind == ModelKind::Decoder {
        notes.push(
            "evaluated on text sampled from the original model; name real text with `--eval-data`"
                .to_owned(),
        );
        return Ok(vec![of_task(
            "perplexity",
            "synthetic",
            "default for decoders",
        )]);
    }
    notes.push(format!(
        "no accuracy is measured: {} needs data of its own, named with `--eval-data` or `[[evaluate]]`",
        a(model.kind)
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
    PlannedEvaluation {
        spec: TaskSpec::new(task, data),
        because: because.to_owned(),
    }
}

fn from_recipe(
    evaluation: &Evaluation,
    model: &ModelFacts,
) -> Result<PlannedEvaluation, PlanError> {
    let because = format!("recipe line {}", evaluation.line);
    let fitting = task_for(model.kind);
    if fitting == Some(evaluation.spec.task.as_str()) {
        return Ok(PlannedEvaluation {
            spec: evaluation.spec.clone(),
            because,
        });
    }
    Err(PlanError::Evaluation {
        because,
        message: format!(
            "task `{}` does not judge {}",
            evaluation.spec.task,
            a(model.kind)
        ),
        hint: fitting.map(|fitting| format!("task `{fitting}` does")),
    })
}

/// `a decoder`, `an image encoder`.
fn a(kind: ModelKind) -> String {
    let article = if kind.name().starts_with(['a', 'e', 'i', 'o']) {
        "an"
    } else {
        "a"
    };
    format!("{article} {}", kind.name())
}
