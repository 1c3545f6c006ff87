//! Quantizing: from a plan to a written, verified, evaluated folder.

use super::blocks::{Blocks, Finished};
use super::calibration::Calibration;
use super::written_layers::WrittenLayers;
use super::{Clock, budget, early, integer, kept_cache, report, survey, write, written};
use crate::Error;
use crate::model::OpenModel;
use crate::plan::QuantizeRequest;
use crate::progress::Progress;
use calib::Forward;
use eval::report::Report;
use quantizers::formats::verify;

/// Carries out `request` on `model`, and compares what comes of it with the original that is stored; `clock` may have
/// counted what was measured for the plan.
///
/// # Errors
/// Anything that keeps the road from its end. Failed gates are in the report, not an error here.
pub fn run(
    model: &OpenModel,
    request: &QuantizeRequest,
    mut clock: Clock,
    progress: &Progress,
) -> Result<Report, Error> {
    if let Some(planned) = &request.plan.integer {
        return integer::run(model, request, planned, clock, progress);
    }
    let plan = &request.plan;
    let device = request.machine.device.open()?;
    let forward = Forward::new(model.model.as_ref(), model.weights(), device);

    clock.stage("check", || {
        early::check_request(model, request, progress)?;
        model.original().check_values(progress)
    })?;
    let calibration = plan.calibration.as_ref().map(|planned| {
        clock.stage("calibrate", || {
            Calibration::read(model, &forward, planned, request, progress)
        })
    });
    let calibration = calibration.transpose()?;
    let factors = clock.stage("survey", || survey::run(model, plan, progress))?;
    let mut writing = WrittenLayers::begin(request)?;
    let unfinished = write::unfinished(request);
    let blocks = Blocks::new(model, request, &factors, &mut writing, progress)?;
    let Finished {
        quantizing,
        edited,
        notes,
    } = clock.stage("calibrate", || blocks.run(&forward, calibration.as_ref()))?;
    let (mut writer, layers, histograms) = writing.into_parts();
    clock.move_to("calibrate", "quantize", quantizing);
    calib::heap::give_back_freed_memory();
    if let Some(planned) = &plan.cache {
        clock.stage("cache", || {
            let calibration = calibration.as_ref();
            let writing = (request, &mut writer);
            kept_cache::write(model, &forward, planned, calibration, writing, progress)
        })?;
    }
    if let Some(planned) = &plan.attention {
        kept_cache::write_attention(model, planned, (request, &mut writer))?;
    }
    let written = clock.stage("write", || {
        write::finish(writer, model, request, &edited, progress)
    })?;
    drop(unfinished);
    let _finished = write::finished(model, request);
    clock.stage("verify", || {
        verify(&request.output, &written.expected)
            .map(drop)
            .map_err(|error| Error::Verification {
                path: request.output.clone(),
                source: error.into(),
            })?;
        budget::verify(request)
    })?;
    drop(calibration);
    let evaluated = written::evaluate(model.original(), request, &mut clock, progress);
    let scores = evaluated.scores();
    let mut made = report::of_quantize(model, request, &written, layers, scores, progress);
    made.histograms = histograms;
    made.warnings.extend(notes);
    evaluated.complete(made, request, &clock)
}
