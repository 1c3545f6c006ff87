//! Which tasks run on the written files.

use super::{ModelFacts, ModelKind, PlanError, PlannedEvaluation};
use crate::recipe::{Evaluation, Recipe};
use eval::tasks::{TASKS, TaskSpec, check_kind, fitting};

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
        let Some(task) = fitting(TASKS, model.kind) else {
            return Err(PlanError::Evaluation {
                because: "--eval-data".to_owned(),
                message: format!("no task judges {}", model.kind.with_article()),
                hint: None,
            });
        };
        let because = if data == "demo" {
            "comes with the program"
        } else {
            "--eval-data"
        };
        return Ok(vec![of_task(task.name(), data, because)]);
    }
    if !tables.is_empty() {
        return tables
            .iter()
            .map(|evaluation| from_recipe(evaluation, model))
            .collect();
    }
    if model.kind == ModelKind::Decoder
        && let Some(task) = fitting(TASKS, model.kind)
    {
        notes.push(
            "evaluated on text sampled from the original model; name real text with `--eval-data`"
                .to_owned(),
        );
        return Ok(vec![of_task(
            task.name(),
            "synthetic",
            "default for decoders",
        )]);
    }
    notes.push(format!(
        "no accuracy is measured: {} needs data of its own, named with `--eval-data` or `[[evaluate]]`",
        model.kind.with_article()
    ));
    Ok(Vec::new())
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
    let spec = evaluation.spec.clone();
    let checked = spec
        .configure(TASKS)
        .and_then(|(task, _)| check_kind(TASKS, task, model.kind));
    match checked {
        Ok(()) => Ok(PlannedEvaluation { spec, because }),
        Err(error) => Err(PlanError::Evaluation {
            because,
            message: error.to_string(),
            hint: error.hint(),
        }),
    }
}
