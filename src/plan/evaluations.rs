//! Which tasks run on the written files.

use super::integer::SYNTHETIC;
use super::{ModelFacts, ModelKind, PlanError, PlannedEvaluation};
use crate::recipe::{Evaluation, Recipe};
use eval::gate::Gate;
use eval::tasks::{TASKS, TaskError, TaskSpec, check_kind, find, fitting};

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
        let planned = if data == "demo" && model.kind == ModelKind::Decoder {
            let mut planned = of_task(task.name(), data, "comes with the program");
            // What the demo model wrote are documents with a separator between them.
            let documents = toml::Value::String("documents".to_owned());
            planned.spec.parameters.insert("mode".to_owned(), documents);
            planned
        } else {
            of_task(task.name(), data, "--eval-data")
        };
        check(&planned, model)?;
        return Ok(vec![planned]);
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
    if model.kind == ModelKind::Unknown {
        notes.push(
            "the architecture is unknown: weights are quantized, nothing is calibrated or evaluated; for that \
             `model_type` has to be one of `quench list architectures`"
                .to_owned(),
        );
        return Ok(Vec::new());
    }
    if fitting(TASKS, model.kind).is_none() {
        notes.push(format!(
            "no accuracy is measured: no task judges {}",
            model.kind.with_article()
        ));
        return Ok(Vec::new());
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
    let planned = PlannedEvaluation {
        spec: evaluation.spec.clone(),
        because: format!("recipe line {}", evaluation.line),
    };
    check(&planned, model)?;
    Ok(planned)
}

/// Refuses what the headers of `model` show to be impossible.
fn check(planned: &PlannedEvaluation, model: &ModelFacts) -> Result<(), PlanError> {
    let spec = &planned.spec;
    let refused = |message: String, hint: Option<String>| PlanError::Evaluation {
        because: planned.because.clone(),
        message,
        hint,
    };
    let failed = |error: TaskError| refused(error.to_string(), error.hint());
    let (task, configured) = spec.configure(TASKS).map_err(failed)?;
    check_kind(TASKS, task, model.kind).map_err(failed)?;
    if spec.data == SYNTHETIC && model.kind != ModelKind::Decoder {
        let message = format!(
            "`{SYNTHETIC}` has no labels or scores to judge {} by",
            model.kind.with_article()
        );
        return Err(refused(message, Some("name data that has".to_owned())));
    }
    match configured.sequence_length().zip(model.max_positions) {
        Some((length, positions)) if length > positions => Err(refused(
            format!(
                "sequence_length: expected at most {positions} (the model's positions), found {length}"
            ),
            Some(format!("use `sequence_length = {positions}`")),
        )),
        _ => Ok(()),
    }
}

/// Refuses gates on figures that none of `evaluations` measures; `compared` tells whether there is an original to
/// compare with.
pub(crate) fn check_gates(
    gates: &[Gate],
    evaluations: &[PlannedEvaluation],
    compared: bool,
) -> Result<(), PlanError> {
    for gate in gates {
        let measures = |planned: &PlannedEvaluation| {
            let task = find(TASKS, &planned.spec.task);
            task.is_ok_and(|task| {
                task.metrics()
                    .iter()
                    .any(|found| found.name == gate.metric())
            })
        };
        if !evaluations.iter().any(measures) {
            return Err(PlanError::Gate {
                gate: gate.to_string(),
                reason: format!("no evaluation measures `{}`", gate.metric()),
            });
        }
        if !compared && gate.compares() {
            return Err(PlanError::Gate {
                gate: gate.to_string(),
                reason: "there is no original to compare with".to_owned(),
            });
        }
    }
    Ok(())
}
