//! Quantizing: from a plan to a written, verified, evaluated folder.

use crate::Error;
use crate::commands::OpenModel;
use crate::plan::QuantizeRequest;
use crate::progress::Progress;
use eval::report::Report;

/// Carries out `request` on `model`.
///
/// # Errors
/// Anything that keeps the road from its end. Failed gates are in the report, not an error here.
pub fn run(
    model: &OpenModel,
    request: &QuantizeRequest,
    progress: &Progress,
) -> Result<Report, Error> {
    let _ = (model, request, progress);
    Err(Error::Bug {
        message: "this build cannot quantize yet".to_owned(),
        source: None,
    })
}
