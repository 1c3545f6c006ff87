//! Trying ways of keeping keys and values on a model: the data, the walk, what comes of it.

use super::data;
use super::watch::Watch;
use crate::Error;
use crate::machine::Machine;
use crate::model::OpenModel;
use crate::plan::{BlockOrder, PlannedCalibration};
use crate::progress::Progress;
use calib::Forward;
use calib::hub::FetchOptions;
use calib::inputs::Inputs;
use calib::sampling::{Selection, Template, TextMode};
use eval::attention::candidate::{BlockPlan, BlockShape, shapes};
use eval::attention::{Candidate, Outcome, Refused, Windows, measure};
use quantizers::methods::Sequential;

/// What is tried, and on what.
pub struct CacheRequest {
    /// Where text comes from.
    pub data: String,
    /// Windows to fit on and to judge on.
    pub windows: [usize; 2],
    /// Tokens of a window.
    pub sequence_length: usize,
    /// Ways of keeping keys and values, and of attending to them.
    pub candidates: Vec<Candidate>,
    /// Nobody named them: those that cannot be tried on the model are left out.
    pub all: bool,
    /// Seed of everything random.
    pub seed: u64,
    /// Where the work is done.
    pub machine: Machine,
    /// How to reach the Hub.
    pub fetch: FetchOptions,
}

/// Tries every candidate on `model`.
///
/// # Errors
/// A model that has no such cache, a method that cannot keep it, data that cannot be read or is too short.
pub fn run(
    model: &OpenModel,
    request: &CacheRequest,
    progress: &Progress,
) -> Result<Vec<Outcome>, Error> {
    let shapes = shapes(model.model.as_ref(), request.sequence_length);
    let shapes = shapes.map_err(|error| refused(model, error))?;
    let kept = request
        .candidates
        .iter()
        .flat_map(|candidate| &candidate.kept);
    if let Some(far) = kept.max().filter(|far| **far >= shapes.len()) {
        return Err(Error::usage(format!(
            "`--skip-layers`: expected blocks 0 to {} of `{}`, found {far}",
            shapes.len() - 1,
            model.name
        )));
    }
    let planned = planned(model, request, &shapes, progress)?;
    let device = request.machine.device.open()?;
    let forward = Forward::new(model.model.as_ref(), model.weights(), device);
    model.check_values(progress)?;
    let windows = windows(model, request, &forward, progress)?;
    let watch = Watch::new(progress, "cache");
    let outcomes = measure(&forward, windows, &shapes, planned, request.seed, &watch);
    outcomes.map_err(|error| {
        let hint = error.hint();
        Error::mismatch(format!("cannot try caches on `{}`", model.name), error).hinted(hint)
    })
}

/// Every candidate with its plans, before any weight is read.
fn planned<'a>(
    model: &OpenModel,
    request: &'a CacheRequest,
    shapes: &[BlockShape],
    progress: &Progress,
) -> Result<Vec<(&'a Candidate, Vec<BlockPlan>)>, Error> {
    let mut planned = Vec::new();
    for candidate in &request.candidates {
        match candidate.plans(shapes) {
            Ok(plans) => planned.push((candidate, plans)),
            Err(error) if request.all => {
                progress.say(&format!("not tried: {}", error.with_causes()));
            }
            Err(error) => return Err(refused(model, error)),
        }
    }
    Ok(planned)
}

fn refused(model: &OpenModel, error: Refused) -> Error {
    let hint = error.hint();
    let message = format!("cannot try this on `{}`", model.name);
    Error::mismatch(message, error).hinted(hint)
}

fn windows(
    model: &OpenModel,
    request: &CacheRequest,
    forward: &Forward<'_>,
    progress: &Progress,
) -> Result<Windows, Error> {
    let [fitting, judging] = request.windows;
    let planned = PlannedCalibration {
        data: request.data.clone(),
        samples: fitting + judging,
        at_most: None,
        sequence_length: request.sequence_length,
        mode: TextMode::default(),
        selection: Selection::First,
        template: Template::default(),
        statistics: Vec::new(),
        report: Vec::new(),
        order: BlockOrder::FirstToLast,
        sequential: Sequential::No,
        keep_statistics: false,
        experts: None,
        kept_input_bytes: 0,
        tape_bytes: 0,
    };
    let inputs = data::for_calibration(
        (&model.name, &model.folder),
        forward,
        &planned,
        request.seed,
        &request.fetch,
        progress,
    )?;
    let Inputs::Tokens(ids) = &inputs else {
        return Err(Error::usage(format!(
            "`{}` holds images: a cache of keys and values is of text",
            request.data
        )));
    };
    if ids.len() <= fitting {
        return Err(Error::Mismatch {
            message: format!(
                "`{}` gives {} windows of {} tokens, expected more than the {fitting} that methods are fitted on",
                request.data,
                ids.len(),
                request.sequence_length
            ),
            source: None,
            hint: Some(
                "take shorter windows with `--sequence-length`, or fewer with `--fitting-samples`"
                    .to_owned(),
            ),
        });
    }
    let batch = |at| inputs.batch(&[at], forward.device());
    Ok(Windows {
        fitting: (0..fitting).map(batch).collect(),
        judged: (fitting..ids.len()).map(batch).collect(),
        ids: ids[fitting..].to_vec(),
    })
}
