//! Writing: the layers as they come, then everything that is not quantized, then the folder.

use crate::Error;
use crate::model::OpenModel;
use crate::plan::QuantizeRequest;
use crate::progress::Progress;
use crate::progress::interrupt::Situation;
use crate::recipe::RECIPE_FILE;
use calib::running::overlay::Changed;
use quantizers::formats::{self, ArtifactWriter, FormatError, WriterOptions, Written};
use std::collections::{BTreeMap, BTreeSet};

/// Begins the output folder.
///
/// # Errors
/// A folder that cannot be written, or that holds a model that is not to be replaced.
pub(super) fn begin(request: &QuantizeRequest) -> Result<ArtifactWriter, Error> {
    let format = formats::find(&request.plan.format).ok_or_else(|| Error::Bug {
        message: format!(
            "the plan names the unknown format `{}`",
            request.plan.format
        ),
        source: None,
    })?;
    let options = WriterOptions {
        format,
        shard_bytes: request.plan.shard_bytes,
        overwrite: request.replace,
    };
    let begun = ArtifactWriter::create(&request.output, options).and_then(|mut writer| {
        writer.file(RECIPE_FILE, request.recipe.as_bytes())?;
        Ok(writer)
    });
    begun.map_err(|error| failed(request, error))
}

/// Copies what is not quantized, unchanged but for `edited`, and gives the folder its final names.
///
/// # Errors
/// A tensor that cannot be read, a full disk.
pub(super) fn finish(
    mut writer: ArtifactWriter,
    model: &OpenModel,
    request: &QuantizeRequest,
    edited: &BTreeMap<String, Changed>,
    progress: &Progress,
) -> Result<Written, Error> {
    let failed = |error| failed(request, error);
    let quantized: BTreeSet<String> = request
        .plan
        .layers
        .iter()
        .map(|layer| format!("{}.weight", layer.name))
        .collect();
    let tensors = model.checkpoint.tensors();
    let second = model.second_names();
    let tied = model
        .stored_tied_head()
        .filter(|tied| !quantized.contains(&tied.head) && !second.contains_key(&tied.head));
    if let Some(tied) = &tied {
        progress.warn(&tied.note());
    }
    let once = tied.filter(|tied| tied.equal && !edited.contains_key(&tied.table));
    for (name, original) in &model.artifact.reader().originals() {
        let tied = once.as_ref().is_some_and(|tied| tied.head == *name);
        let first = second.get(name);
        let written = tied || first.is_some_and(|first| !edited.contains_key(first));
        if quantized.contains(name) || written {
            continue;
        }
        let (dtype, shape) = (original.dtype, &original.shape);
        if let Some(changed) = edited.get(name) {
            writer
                .changed(name, dtype, &changed.shape, &changed.values)
                .map_err(failed)?;
            continue;
        }
        if !original.is_stored {
            let values = model.weights().tensor(name).map_err(|error| {
                Error::io(format!("cannot read `{name}` of `{}`", model.name), error)
            })?;
            writer
                .changed(name, dtype, shape, &values.data)
                .map_err(failed)?;
            continue;
        }
        let bytes = tensors.bytes(name).map_err(failed)?;
        writer
            .passthrough(name, dtype, shape, &bytes)
            .map_err(failed)?;
        tensors.release(name);
    }
    model.copy_side_files(&mut writer).map_err(failed)?;
    let linear: Vec<String> = model
        .model
        .layers()
        .iter()
        .map(|layer| layer.name.clone())
        .collect();
    let config = model.artifact.reader().original_config();
    writer.finish(&config, &linear).map_err(failed)
}

/// What an interruption leaves while the folder is written.
pub(super) fn unfinished(request: &QuantizeRequest) -> Situation {
    let output = request.output.display();
    let (kept, again) = if request.output.join("config.json").is_file() {
        (
            format!(
                "the model in `{output}` is as it was; what is new beside it ends in `.partial`"
            ),
            "run the same command again to replace it",
        )
    } else {
        (
            format!("`{output}` holds no model yet, only files that end in `.partial`"),
            "run the same command again: it writes the same folder from the start",
        )
    };
    let statistics = request.plan.calibration.as_ref();
    if statistics.is_some_and(|calibration| calibration.keep_statistics) {
        let next = format!("{again}, and uses the statistics that are kept already");
        return Situation::new(kept, next);
    }
    Situation::new(kept, again)
}

/// What an interruption leaves once the model is written.
pub(super) fn finished(model: &OpenModel, request: &QuantizeRequest) -> Situation {
    let output = request.output.display();
    Situation::new(
        format!("the model is written in `{output}`, its report is not"),
        format!(
            "`quench eval '{output}' --baseline '{}'` evaluates it",
            model.name
        ),
    )
}

/// What failed while the output was written.
pub(super) fn failed(request: &QuantizeRequest, error: FormatError) -> Error {
    let message = format!("cannot write `{}`", request.output.display());
    let hint = error.hint();
    match error {
        FormatError::Range { .. } | FormatError::Unsupported { .. } => {
            Error::mismatch(message, error)
        }
        error => Error::io(message, error),
    }
    .hinted(hint)
}
