//! Trying ways of keeping keys and values on a model: the data, the walk, what comes of it.

use super::cache_memory::{self, Tried};
use super::calibration::scratch_folder;
use super::data;
use super::watch::Watch;
use crate::Error;
use crate::machine::Machine;
use crate::model::OpenModel;
use crate::plan::{BlockOrder, KEPT_INPUT_BYTES, PlannedCalibration};
use crate::progress::Progress;
use calib::hub::FetchOptions;
use calib::inputs::{Inputs, check_tokens};
use calib::running::fisher::{KeyValueOptions, Sequence};
use calib::sampling::{Selection, Template, TextMode};
use calib::tokenizer::Tokenizer;
use calib::{Forward, Hidden};
use eval::attention::candidate::{BlockPlan, BlockShape, shapes};
use eval::attention::{Candidate, Outcome, Refused, Windows, measure};
use eval::retrieval::{Depths, Filler, Probe, ProbeError, Retrieval, probes};
use quantizers::methods::Sequential;

/// Parts of a window that texts which hide something are long: half of it, and all.
const LENGTHS: [usize; 2] = [2, 1];
/// Where in the text it is hidden, in per cent.
const DEPTHS: [usize; 5] = [0, 25, 50, 75, 100];

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
    /// Kinds of text that hide something.
    pub retrievals: Vec<&'static dyn Retrieval>,
    /// How many of them for each length and depth.
    pub retrieval_samples: usize,
    /// Nobody named them: those that cannot be tried on the model are left out.
    pub all: bool,
    /// Seed of everything random.
    pub seed: u64,
    /// Where the work is done.
    pub machine: Machine,
    /// How to reach the Hub.
    pub fetch: FetchOptions,
}

impl CacheRequest {
    /// Tokens a text that hides something may have, for each length.
    fn lengths(&self) -> Vec<usize> {
        LENGTHS.map(|part| self.sequence_length / part).to_vec()
    }

    /// Tokens of all such texts.
    fn hidden_tokens(&self) -> usize {
        let of_each: usize = self.lengths().iter().sum();
        self.retrievals.len() * self.retrieval_samples * DEPTHS.len() * of_each
    }
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
    cache_memory::check(&Tried {
        model,
        windows: request.windows,
        tokens: request.sequence_length,
        hidden_tokens: request.hidden_tokens(),
        threads: request.machine.threads,
        shapes: &shapes,
        plans: planned.iter().map(|(_, plans)| &plans[..]).collect(),
    })?;
    let device = request.machine.device.open()?;
    let forward = Forward::new(model.model.as_ref(), model.weights(), device);
    model.check_values(progress)?;
    let probes = probes_of(model, request, &forward)?;
    let windows = windows(model, request, (&forward, probes), progress)?;
    let scratch = scratch_folder(progress)?;
    let backward = KeyValueOptions {
        seed: request.seed,
        memory_bytes: KEPT_INPUT_BYTES,
        scratch: scratch.path().to_owned(),
    };
    let watch = Watch::new(progress, "cache");
    let outcomes = measure(&forward, windows, &shapes, planned, &backward, &watch);
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
    (forward, probes): (&Forward<'_>, (Vec<Probe>, Vec<Hidden>)),
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
        kept_input_bytes: KEPT_INPUT_BYTES,
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
    let sequences = (0..ids.len()).map(|at| Sequence {
        input: inputs.batch(&[at], forward.device()),
        tokens: ids[at].clone(),
    });
    let mut all: Vec<Sequence> = sequences.collect();
    let judged = all.split_off(fitting);
    Ok(Windows {
        fitting: all,
        judged,
        probes,
    })
}

/// The texts that hide something, with the batch of each.
fn probes_of(
    model: &OpenModel,
    request: &CacheRequest,
    forward: &Forward<'_>,
) -> Result<(Vec<Probe>, Vec<Hidden>), Error> {
    if request.retrievals.is_empty() {
        return Ok(Default::default());
    }
    let failed = |error: ProbeError| {
        let hint = matches!(error, ProbeError::Short { .. })
            .then(|| "take longer windows with `--sequence-length`".to_owned());
        Error::mismatch(format!("cannot hide anything from `{}`", model.name), error).hinted(hint)
    };
    let tokenizer = Tokenizer::from_folder(&model.folder).map_err(|error| failed(error.into()))?;
    let asked = Depths {
        lengths: request.lengths(),
        depths: DEPTHS.to_vec(),
        samples: request.retrieval_samples,
    };
    let filler = Filler::default();
    let mut all = Vec::new();
    for retrieval in &request.retrievals {
        let made = probes(*retrieval, &tokenizer, &filler, &asked, request.seed);
        all.extend(made.map_err(failed)?);
    }
    let texts = all.iter().map(|probe| &probe.tokens);
    check_tokens(
        texts,
        model.model.vocabulary(),
        Some(&tokenizer),
        "--retrieval",
    )
    .map_err(|error| {
        Error::mismatch(format!("cannot hide anything from `{}`", model.name), error)
    })?;
    let tokens = all.iter().map(|probe| probe.tokens.clone()).collect();
    let inputs = Inputs::Tokens(tokens);
    let batches = (0..all.len()).map(|at| inputs.batch(&[at], forward.device()));
    let batches = batches.collect();
    Ok((all, batches))
}
