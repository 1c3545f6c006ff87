//! What quantizers want to know about all layers before the first is quantized: one pass over the
//! weights for every group of layers that share an outlier target.

use super::job::weight_matrix;
use crate::Error;
use crate::model::OpenModel;
use crate::plan::Plan;
use crate::progress::Progress;
use quantizers::MatrixRef;
use quantizers::outliers::{MagnitudeSurvey, shared_factor, survey};

/// The shared outlier factor of every planned layer, where its quantizer asks for one.
///
/// # Errors
/// A weight that cannot be read or is not finite.
pub(super) fn run(
    model: &OpenModel,
    plan: &Plan,
    progress: &Progress,
) -> Result<Vec<Option<f64>>, Error> {
    // What is known already need not be found out again.
    let mut factors: Vec<Option<f64>> = plan
        .layers
        .iter()
        .map(|layer| layer.outlier_factor)
        .collect();
    let unknown = plan.layers.iter().map(|layer| match layer.outlier_factor {
        Some(_) => None,
        None => layer.plan.survey,
    });
    let targets: Vec<Option<f64>> = unknown
        .map(|survey| survey.map(|request| request.outlier_fraction))
        .collect();
    let asking = targets.iter().flatten().count();
    if asking == 0 {
        return Ok(factors);
    }
    let track = progress.stage("survey", asking);
    let mut surveys: Vec<Option<MagnitudeSurvey>> = Vec::with_capacity(targets.len());
    for (planned, target) in plan.layers.iter().zip(&targets) {
        if target.is_none() {
            surveys.push(None);
            continue;
        }
        let weight = weight_matrix(model.weights(), &model.name, planned)?;
        let [rows, cols] = planned.shape;
        let matrix = MatrixRef::new(&weight, rows, cols).map_err(|error| {
            Error::mismatch(format!("cannot read `{}.weight`", planned.name), error)
        })?;
        surveys.push(Some(survey(matrix).map_err(|error| {
            Error::mismatch(format!("cannot survey `{}`", planned.name), error)
        })?));
        track.advance(1);
    }
    for index in 0..targets.len() {
        let (Some(target), None) = (targets[index], factors[index]) else {
            continue;
        };
        let same =
            |other: Option<f64>| other.is_some_and(|other| other.to_bits() == target.to_bits());
        let group: Vec<MagnitudeSurvey> = surveys
            .iter_mut()
            .zip(&targets)
            .filter(|(_, other)| same(**other))
            .filter_map(|(survey, _)| survey.take())
            .collect();
        let factor = shared_factor(&group, target);
        for (slot, _) in factors
            .iter_mut()
            .zip(&targets)
            .filter(|(_, other)| same(**other))
        {
            *slot = Some(factor);
        }
    }
    Ok(factors)
}
