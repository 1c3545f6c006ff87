//! Evaluating: tasks over one model, or over two on the same samples.

use crate::Error;
use crate::commands::OpenModel;
use crate::plan::EvaluateRequest;
use crate::progress::Progress;
use eval::report::Report;

/// Runs the tasks of `request` on `model` and, for the differences, on `baseline`.
///
/// # Errors
/// Data that cannot be read, or a model that cannot be run.
pub fn run(
    model: &OpenModel,
    baseline: Option<&OpenModel>,
    request: &EvaluateRequest,
    progress: &Progress,
) -> Result<Report, Error> {
    let _ = (model, baseline, request, progress);
    Err(Error::Bug {
        message: "this build cannot evaluate yet".to_owned(),
        source: None,
    })
}
