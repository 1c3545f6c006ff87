//! Measuring: every option of every layer that a recipe leaves to its budget, scored once.

use super::blocks::Blocks;
use super::calibration::{self, Calibration};
use super::divergence::divergences;
use super::measuring::{Scoring, per_token};
use super::survey;
use crate::Error;
use crate::model::OpenModel;
use crate::plan::{
    Correlation, MEASURED_VERSION, Measured, MeasuredCalibration, MeasuredLayer, MeasuredModel,
    MeasuredOption, OptionScore, QuantizeRequest, option_key,
};
use crate::progress::Progress;
use calib::Forward;
use eval::metrics::{mean, spearman};
use quantizers::formats;
use quantizers::sensitivity::{Score, Sensitivity};
use std::collections::BTreeMap;

/// Scores the options in the plan of `request`, whose layers stand once for each option.
///
/// # Errors
/// Weights that cannot be read, a model that cannot be run, a layer its method refuses.
pub fn run(
    model: &OpenModel,
    request: &QuantizeRequest,
    kinds: &[&'static Sensitivity],
    progress: &Progress,
) -> Result<Measured, Error> {
    let plan = &request.plan;
    let device = request.machine.device.open()?;
    let mut forward = Forward::new(model.model.as_ref(), model.weights(), device);
    model.original().check_values(progress)?;
    let calibration = plan.calibration.as_ref();
    let calibration = calibration
        .map(|planned| Calibration::read(model, &forward, planned, request, progress))
        .transpose()?;
    let factors = survey::run(model, plan, progress)?;
    let end_to_end = kinds
        .iter()
        .find(|kind| matches!(kind.score, Score::EndToEnd));
    let scratch = end_to_end
        .map(|_| calibration::scratch_folder(progress))
        .transpose()?;
    let format = formats::find(&plan.format).ok_or_else(|| Error::Bug {
        message: format!("the plan names the unknown format `{}`", plan.format),
        source: None,
    })?;
    let lengths = calibration
        .as_ref()
        .map_or_else(Vec::new, Calibration::lengths);
    let mut scoring = Scoring {
        format,
        kinds,
        per_token: per_token(model.model.as_ref(), &lengths),
        kept: scratch.as_ref().map(tempfile::TempDir::path),
        scores: BTreeMap::new(),
    };
    let blocks = Blocks::new(model, request, &factors, &mut scoring, progress)?;
    let finished = blocks.run(&forward, calibration.as_ref())?;
    for note in &finished.notes {
        progress.say(note);
    }
    calib::heap::give_back_freed_memory();
    let mut scores: Vec<OptionScore> = scoring.scores.into_values().collect();
    if let (Some(kind), Some(scratch), Some(calibration)) = (end_to_end, &scratch, &calibration) {
        if 4 * model.facts().parameters <= crate::plan::RESIDENT_BYTES {
            forward.keep_resident().map_err(|error| {
                let message = format!("cannot build the stages of `{}`", model.name);
                Error::mismatch(message, error)
            })?;
        }
        let found = divergences(
            model,
            &forward,
            calibration,
            &plan.layers,
            scratch.path(),
            progress,
        )?;
        for (score, divergence) in scores.iter_mut().zip(found) {
            score.scores.insert(kind.name.to_owned(), divergence);
        }
    }
    Ok(measured(model, request, kinds, scores))
}

/// The file of `scores`, one for each planned layer.
fn measured(
    model: &OpenModel,
    request: &QuantizeRequest,
    kinds: &[&'static Sensitivity],
    scores: Vec<OptionScore>,
) -> Measured {
    let plan = &request.plan;
    let mut options: Vec<MeasuredOption> = Vec::new();
    let mut layers: Vec<MeasuredLayer> = Vec::new();
    for (planned, mut score) in plan.layers.iter().zip(scores) {
        let key = option_key(planned);
        let known = options.iter().position(|known| *known == key);
        score.option = known.unwrap_or_else(|| {
            options.push(key);
            options.len() - 1
        });
        match layers.last_mut() {
            Some(layer) if layer.name == planned.name => layer.options.push(score),
            _ => layers.push(MeasuredLayer {
                name: planned.name.clone(),
                shape: planned.shape,
                options: vec![score],
            }),
        }
    }
    let mut measured = Measured {
        quench_measured: MEASURED_VERSION,
        program: env!("CARGO_PKG_VERSION").to_owned(),
        model: MeasuredModel {
            name: model.name.clone(),
            fingerprint: model.fingerprint(),
        },
        calibration: plan.calibration.as_ref().map(MeasuredCalibration::from),
        seed: plan.seed,
        transforms: plan.transforms.clone(),
        format: plan.format.clone(),
        sensitivities: kinds.iter().map(|kind| kind.name.to_owned()).collect(),
        options,
        layers,
        correlations: Vec::new(),
    };
    let reference = kinds
        .iter()
        .find(|kind| matches!(kind.score, Score::EndToEnd));
    if let Some(reference) = reference {
        let others = kinds.iter().filter(|kind| kind.name != reference.name);
        measured.correlations = others
            .map(|kind| correlation(&measured, kind.name, reference.name))
            .collect();
    }
    measured
}

/// How the scores of `kind` rank the options against those of `reference`.
fn correlation(measured: &Measured, kind: &str, reference: &str) -> Correlation {
    let pair =
        |score: &OptionScore| Some([*score.scores.get(kind)?, *score.scores.get(reference)?]);
    let all = measured.layers.iter().flat_map(|layer| &layer.options);
    let pairs: Vec<[f64; 2]> = all.filter_map(pair).collect();
    let of_options = (0..measured.options.len()).filter_map(|option| {
        let layers = measured.layers.iter().flat_map(|layer| &layer.options);
        let of_option: Vec<[f64; 2]> = layers
            .filter(|score| score.option == option)
            .filter_map(pair)
            .collect();
        ranks(&of_option)
    });
    let of_options: Vec<f64> = of_options.collect();
    Correlation {
        sensitivity: kind.to_owned(),
        spearman: ranks(&pairs),
        spearman_of_layers: (!of_options.is_empty()).then(|| mean(&of_options)),
        pairs: pairs.len(),
    }
}

fn ranks(pairs: &[[f64; 2]]) -> Option<f64> {
    let [left, right] = [0, 1].map(|side| pairs.iter().map(|pair| pair[side]).collect::<Vec<_>>());
    spearman(&left, &right)
}
