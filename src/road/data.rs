//! Data for calibration and evaluation, from wherever its name points.

use crate::Error;
use crate::plan::{PlannedCalibration, SYNTHETIC_TOKENS};
use crate::progress::Progress;
use calib::data::{self, Content, DataError, DataSpec, NoSampler, Request, Sampler};
use calib::hub::FetchOptions;
use calib::inputs::{Draw, Inputs, calibration_inputs, check_tokens};
use calib::synthetic;
use calib::tokenizer::Tokenizer;
use calib::{Forward, Model};
use eval::subject::InputFiles;
use std::path::Path;

/// What sources that make their own data are asked for.
pub(super) struct Wanted {
    pub(super) samples: usize,
    pub(super) sequence_length: usize,
    pub(super) seed: u64,
}

/// Tokens of a sampled sequence, where nobody said.
pub(super) fn synthetic_length(model: &dyn Model) -> usize {
    model
        .max_positions()
        .unwrap_or(SYNTHETIC_TOKENS)
        .min(SYNTHETIC_TOKENS)
}

/// Reads (or downloads, or samples) `name`; `forward` is what synthetic data is made with.
///
/// # Errors
/// Data that cannot be had.
pub(super) fn load(
    name: &str,
    wanted: &Wanted,
    forward: Option<&Forward<'_>>,
    tokenizer: Option<&Tokenizer>,
    fetch: &FetchOptions,
    progress: &Progress,
) -> Result<Content, Error> {
    let failed = |error: DataError| {
        let hint = error.hint();
        Error::io(format!("cannot read data `{name}`"), error).hinted(hint)
    };
    let spec = DataSpec::parse(name, Path::new("")).map_err(failed)?;
    let mut sampler: Box<dyn Sampler + '_> = match forward {
        Some(forward) => synthetic::sampler(forward, tokenizer),
        None => Box::new(NoSampler),
    };
    let mut request = Request {
        samples: wanted.samples,
        sequence_length: wanted.sequence_length,
        seed: wanted.seed,
        sampler: sampler.as_mut(),
        hub: fetch,
        progress,
        remarks: Vec::new(),
    };
    let content = data::load(&spec, &mut request).map_err(failed)?;
    for remark in &request.remarks {
        progress.remark(remark);
    }
    Ok(content)
}

/// Tokenizer, image processor and class names of the model in `folder`.
///
/// # Errors
/// A file that is there and cannot be read or followed.
pub(super) fn input_files(name: &str, folder: &Path) -> Result<InputFiles, Error> {
    InputFiles::from_folder(folder).map_err(|error| {
        let hint = error.hint();
        Error::io(format!("cannot read the input files of `{name}`"), error).hinted(hint)
    })
}

/// The inputs of a calibration run.
///
/// # Errors
/// Data or input files that cannot be read, or that hold too little.
pub(super) fn for_calibration(
    (name, folder): (&str, &Path),
    forward: &Forward<'_>,
    planned: &PlannedCalibration,
    seed: u64,
    fetch: &FetchOptions,
    progress: &Progress,
) -> Result<Inputs, Error> {
    let files = input_files(name, folder)?;
    let wanted = Wanted {
        samples: planned.samples,
        sequence_length: planned.sequence_length,
        seed,
    };
    let content = load(
        &planned.data,
        &wanted,
        Some(forward),
        files.tokenizer.as_ref(),
        fetch,
        progress,
    )?;
    let draw = Draw {
        samples: planned.samples,
        sequence_length: planned.sequence_length,
        selection: planned.selection,
        seed,
        mode: planned.mode.clone(),
        template: planned.template,
    };
    let failed = |error: DataError| {
        let hint = error.hint();
        Error::mismatch(format!("cannot calibrate on `{}`", planned.data), error).hinted(hint)
    };
    let mut remarks = Vec::new();
    let inputs = calibration_inputs(
        &content,
        &planned.data,
        files.tokenizer.as_ref(),
        files.images.as_ref(),
        &draw,
        &mut remarks,
    )
    .map_err(failed)?;
    for remark in &remarks {
        progress.remark(remark);
    }
    if let Inputs::Tokens(sequences) = &inputs {
        let (rows, tokenizer) = (forward.model().vocabulary(), files.tokenizer.as_ref());
        check_tokens(sequences, rows, tokenizer, &planned.data).map_err(failed)?;
    }
    Ok(inputs)
}
