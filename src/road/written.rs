//! The evaluation of a model that has just been written. It may fail and the files still be whole: the report is written
//! all the same, and the error says where they are and how to go on.

use super::{Clock, evaluate, report};
use crate::Error;
use crate::model::OpenModel;
use crate::plan::{Plan, QuantizeRequest};
use crate::progress::Progress;
use eval::report::Report;
use eval::score::Score;

/// What became of the evaluation.
pub(super) struct Evaluated(Result<Vec<Score>, Error>);

/// Evaluates what `request` wrote; nothing where it asks for no evaluation.
pub(super) fn evaluate(
    model: &OpenModel,
    request: &QuantizeRequest,
    clock: &mut Clock,
    progress: &Progress,
) -> Evaluated {
    if !request.evaluate || request.plan.evaluations.is_empty() {
        return Evaluated(Ok(Vec::new()));
    }
    Evaluated(clock.stage("evaluate", || evaluate::of_output(model, request, progress)))
}

impl Evaluated {
    /// The scores; none where the evaluation failed.
    pub(super) fn scores(&self) -> Vec<Score> {
        self.0.as_ref().map_or_else(|_| Vec::new(), Clone::clone)
    }

    /// Finishes `report` and writes it beside the model.
    ///
    /// # Errors
    /// A folder that cannot be written; an evaluation that failed.
    pub(super) fn complete(
        self,
        mut report: Report,
        request: &QuantizeRequest,
        clock: &Clock,
    ) -> Result<Report, Error> {
        let failed = self.0.err();
        if let Some(error) = &failed {
            report.warnings.push(format!("not evaluated: {error}"));
        }
        let report = report::complete(report, request, clock)?;
        match failed {
            None => Ok(report),
            Some(error) => Err(Error::NotEvaluated {
                path: request.output.clone(),
                again: again(&request.plan, &request.output.display().to_string()),
                source: Box::new(error),
            }),
        }
    }
}

/// The command that evaluates the folder `output` as `plan` would have.
fn again(plan: &Plan, output: &str) -> String {
    let quoted = |text: &str| {
        if text.contains(char::is_whitespace) {
            format!("'{text}'")
        } else {
            text.to_owned()
        }
    };
    let command = format!("quench eval {}", quoted(output));
    match plan.evaluations.first() {
        Some(first) if first.because.starts_with("recipe") => {
            let recipe = match plan.recipe.origin.as_str() {
                "built-in" => &plan.recipe.name,
                file => file,
            };
            format!("{command} -r {}", quoted(recipe))
        }
        Some(first) => format!("{command} --eval-data {}", quoted(&first.spec.data)),
        None => command,
    }
}
