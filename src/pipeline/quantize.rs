//! Quantizing: from a plan to a written, verified, evaluated folder.

use super::{Clock, calibrate, evaluate, integer, layer, report, survey, write};
use crate::Error;
use crate::model::OpenModel;
use crate::plan::QuantizeRequest;
use crate::progress::Progress;
use calib::Forward;
use eval::report::Report;
use quantizers::formats::{FormatError, verify};

/// Carries out `request` on `model`.
///
/// # Errors
/// Anything that keeps the road from its end. Failed gates are in the report, not an error here.
pub fn run(
    model: &OpenModel,
    request: &QuantizeRequest,
    progress: &Progress,
) -> Result<Report, Error> {
    if let Some(planned) = &request.plan.integer {
        return integer::run(model, request, planned, progress);
    }
    let mut clock = Clock::start();
    let plan = &request.plan;
    let device = request.machine.device.open()?;
    let forward = Forward::new(model.model.as_ref(), model.weights(), device);

    let statistics = clock.stage("calibrate", || {
        calibrate::run(model, &forward, request, progress)
    })?;
    let quantizers = plan.quantizers().map_err(|error| Error::Bug {
        message: "the plan does not configure its own methods".to_owned(),
        source: Some(error.into()),
    })?;
    let factors = clock.stage("survey", || survey::run(model, plan, &quantizers, progress))?;

    let mut writer = write::begin(request)?;
    let mut layers = Vec::with_capacity(plan.layers.len());
    let mut histograms = report::WorstLayers::default();
    clock.stage("quantize", || {
        let track = progress.stage("quantize", plan.layers.len());
        for (index, (planned, quantizer)) in plan.layers.iter().zip(&quantizers).enumerate() {
            track.now(&planned.name);
            let work = layer::Work {
                model,
                planned,
                quantizer: quantizer.as_ref(),
                statistics: &statistics,
                outlier_factor: factors[index],
                seed: plan.seed,
            };
            let done = work.run()?;
            let size = writer
                .layer(&planned.name, &done.tensor, &planned.scheme)
                .map_err(|error| format_error(request, error))?;
            histograms.offer(planned, &done);
            let facts = done.facts(planned, size);
            progress.layer(&done.line(planned, size, index + 1, plan.layers.len()));
            layers.push(facts);
            track.advance(1);
        }
        Ok::<(), Error>(())
    })?;
    let written = clock.stage("write", || write::finish(writer, model, request))?;
    clock.stage("verify", || {
        verify(&request.output, &written.expected)
            .map(drop)
            .map_err(|error| Error::Verification {
                path: request.output.clone(),
                source: error.into(),
            })
    })?;
    let scores = if request.evaluate && !plan.evaluations.is_empty() {
        clock.stage("evaluate", || evaluate::of_output(model, request, progress))?
    } else {
        Vec::new()
    };
    let mut made = report::of_quantize(model, request, &written, layers, scores, progress);
    made.histograms = histograms.into_inner();
    report::complete(made, request, &clock)
}

/// A failure of the writer, by whose fault it is.
pub(super) fn format_error(request: &QuantizeRequest, error: FormatError) -> Error {
    Error::io(
        format!("cannot write `{}`", request.output.display()),
        error,
    )
}
