//! How far synthetic data reaches beside the data a program is calibrated on.

use super::calibration::{self, Calibration};
use super::calibration_inputs::{CalibrationInputs, walked_magnitudes};
use crate::Error;
use crate::model::OpenModel;
use crate::plan::{PlannedCalibration, QuantizeRequest, SYNTHETIC};
use crate::progress::Progress;
use calib::Forward;
use eval::report::{CalibrationFacts, PointRatio, SyntheticRanges};
use std::collections::BTreeMap;

/// Most synthetic inputs looked at; never more than real ones, since extremes grow with their number.
const SAMPLES: usize = 128;

/// What the report says of the calibration of `activations`.
///
/// # Errors
/// Statistics of the calibration that cannot be read. Synthetic data that cannot be made is a
/// warning: nothing but the report needs it.
pub(super) fn compare(
    model: &OpenModel,
    forward: &Forward<'_>,
    activations: &CalibrationInputs<'_>,
    request: &QuantizeRequest,
    progress: &Progress,
) -> Result<CalibrationFacts, Error> {
    let Some(planned) = &request.plan.calibration else {
        return Err(Error::Bug {
            message: "an integer-only plan without calibration".to_owned(),
            source: None,
        });
    };
    let mut facts = CalibrationFacts {
        data: planned.data.clone(),
        samples: activations.samples() as u64,
        synthetic: None,
    };
    if planned.data == SYNTHETIC {
        return Ok(facts);
    }
    let real = activations.magnitudes();
    let real = real.map_err(|error| calibration::failed(model, error))?;
    let asked = PlannedCalibration {
        data: SYNTHETIC.to_owned(),
        samples: activations.samples().min(SAMPLES),
        ..planned.clone()
    };
    match synthetic(model, forward, &asked, request, progress) {
        Ok((samples, made)) => facts.synthetic = SyntheticRanges::of(samples, ratios(&made, &real)),
        Err(error) => progress.warn(&format!("not compared with synthetic data: {error}")),
    }
    Ok(facts)
}

/// Samples of synthetic data and the largest magnitude they have at each point.
fn synthetic(
    model: &OpenModel,
    forward: &Forward<'_>,
    asked: &PlannedCalibration,
    request: &QuantizeRequest,
    progress: &Progress,
) -> Result<(u64, BTreeMap<String, f32>), Error> {
    let data = Calibration::read(model, forward, asked, request, progress)?;
    let samples = data.sequences.len() as u64;
    let made = walked_magnitudes(forward, data.batches());
    let made = made.map_err(|error| calibration::failed(model, error))?;
    Ok((samples, made))
}

/// Synthetic over real at the points that both were seen at.
fn ratios(made: &BTreeMap<String, f32>, real: &BTreeMap<String, f32>) -> Vec<PointRatio> {
    made.iter()
        .filter_map(|(point, &made)| {
            let ratio = f64::from(made) / f64::from(*real.get(point)?);
            Some(PointRatio {
                point: point.clone(),
                ratio,
            })
        })
        .collect()
}
