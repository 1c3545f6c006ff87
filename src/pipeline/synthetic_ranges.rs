//! How far synthetic data reaches beside the data a program is calibrated on.

use super::activations::Activations;
use super::calibrate::{self, Calibrated};
use crate::Error;
use crate::model::OpenModel;
use crate::plan::{PlannedCalibration, QuantizeRequest, SYNTHETIC};
use crate::progress::Progress;
use calib::collect::{Collection, collect};
use calib::stats_store::{StatsStore, StoreError};
use calib::{Forward, observers};
use eval::report::{CalibrationFacts, PointRatio, SyntheticRanges};
use std::collections::BTreeMap;

/// The observer of the extremes.
const RANGE: &str = "min_max";
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
    activations: &Activations,
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
    let stages = model.model.stages();
    let real = magnitudes(activations.store(), stages).map_err(|error| unreadable(model, error))?;
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
    // Other data, another key: the cache keeps these statistics apart from the others.
    let Calibrated {
        store, sequences, ..
    } = calibrate::prepare(model, forward, asked, request, progress)?;
    let collection = Collection {
        observers: observers::find(RANGE).into_iter().collect(),
        ..Collection::for_integers(model.model.as_ref())
    };
    let samples = sequences.len() as u64;
    let batches = sequences
        .into_iter()
        .map(|sequence| sequence.input)
        .collect();
    calibrate::watched(progress, "compare", |report| {
        collect(forward, batches, &collection, &store, report)
    })
    .map_err(|error| calibrate::collect_error(model, error))?;
    let made =
        magnitudes(&store, model.model.stages()).map_err(|error| unreadable(model, error))?;
    Ok((samples, made))
}

/// The largest magnitude at every point of the model.
fn magnitudes(store: &StatsStore, stages: usize) -> Result<BTreeMap<String, f32>, StoreError> {
    let mut magnitudes = BTreeMap::new();
    for stage in 0..stages {
        for (point, entry) in store.read(RANGE, stage)? {
            let largest = entry
                .values
                .iter()
                .fold(0.0, |most: f32, x| most.max(x.abs()));
            magnitudes.insert(point, largest);
        }
    }
    Ok(magnitudes)
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

fn unreadable(model: &OpenModel, error: StoreError) -> Error {
    let message = format!("cannot read the statistics of `{}`", model.name);
    Error::io(message, error)
}
