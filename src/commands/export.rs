//! `quench export`: a quantized folder in another format, verified after writing.

use super::output::{self, Input, Replace};
use super::{print, print_json, resources};
use crate::Error;
use crate::args::{DtypeChoice, ExportArgs};
use crate::progress::Progress;
use ::eval::report::figures;
use calib::artifact::Artifact;
use calib::open_model;
use quantizers::formats::{
    ArtifactReader, ArtifactWriter, FORMATS, Format, FormatError, StoredLayer, WriterOptions,
    Written, find, gguf, verify,
};
use quantizers::nearest::{did_you_mean, nearest};
use serde_json::{Map, Value, json};
use std::path::Path;

/// Most bytes of one weight file.
const SHARD_BYTES: u64 = 5_000_000_000;

/// Writes the folder, opens it again and compares.
///
/// # Errors
/// A folder that cannot be read, a format that cannot hold it, one that cannot be written, or files
/// that do not say what was handed to them.
pub fn run(args: &ExportArgs, json: bool, progress: &Progress) -> Result<(), Error> {
    if !args.folder.is_dir() && !gguf::is_gguf(&args.folder) {
        return Err(Error::NotFound {
            what: "folder",
            path: args.folder.clone(),
            hint: Some("`quench quantize` writes one".to_owned()),
        });
    }
    let reader = ArtifactReader::open(&args.folder)
        .map_err(|error| failed(format!("cannot open `{}`", args.folder.display()), error))?;
    check_has_floats(args, &reader)?;
    let format = format(args)?;
    let replace = Replace::of(args.force, args.force_foreign);
    let source = Input::new("quantized folder", &args.folder);
    output::check(&args.output, replace, &[source])?;
    for (name, layer) in reader.layers() {
        format
            .accepts(&layer.scheme, layer.rows, layer.cols)
            .map_err(|error| {
                Error::mismatch(
                    format!("format `{}` cannot hold `{name}`", format.name()),
                    error,
                )
                .with_hint("`--format dense` holds everything")
            })?;
    }
    check_has_layers(args, &reader, format)?;
    resources::check_export(&reader, format, SHARD_BYTES, &args.output)?;
    let rounded = |layer: &StoredLayer| layer.scheme.inputs.is_some();
    if format.decoder().is_none() && reader.layers().values().any(rounded) {
        progress.warn(
            "the inputs of layers are quantized too when this model runs; a dense file cannot say so, and what reads it gives other scores",
        );
    }
    let written = write(args, &reader, format, progress)?;
    verify(&args.output, &written.expected).map_err(|error| Error::Verification {
        path: args.output.clone(),
        source: error.into(),
    })?;
    if json {
        let files: Map<String, Value> = written
            .files
            .iter()
            .map(|(path, bytes)| (path.display().to_string(), json!(bytes)))
            .collect();
        let summary = json!({
            "format": format.name(),
            "path": args.output.display().to_string(),
            "bytes": written.bytes(),
            "files": files,
        });
        return print_json(&summary);
    }
    print(&format!(
        "written  {} ({}, {}, {} layers, verified)\n",
        args.output.display(),
        format.name(),
        figures::bytes(written.bytes()),
        reader.layers().len(),
    ))
}

/// An integer-only folder lacks what every other format holds.
fn check_has_floats(args: &ExportArgs, reader: &ArtifactReader) -> Result<(), Error> {
    if !reader.is_integer_only() {
        return Ok(());
    }
    let replaced = reader.replaced_tensors();
    let first = replaced.keys().next().map_or("", String::as_str);
    Err(Error::Mismatch {
        message: format!(
            "`{}` is integer-only and cannot be exported as `{}`",
            args.folder.display(),
            args.format
        ),
        source: Some(
            format!(
                "it has no float tensor `{first}` and {} more (embeddings, normalisations, biases): \
                 the integer program replaced them",
                replaced.len().saturating_sub(1)
            )
            .into(),
        ),
        hint: Some("quantize the original with a weight-only recipe such as `q8`".to_owned()),
    })
}

/// What another program quantized is only known by its values, which no format of codes can hold as they are.
fn check_has_layers(
    args: &ExportArgs,
    reader: &ArtifactReader,
    format: &dyn Format,
) -> Result<(), Error> {
    let Some((name, tensor)) = reader.decoded().iter().find(|(_, tensor)| tensor.quantized) else {
        return Ok(());
    };
    if format.decoder().is_none() {
        return Ok(());
    }
    Err(Error::Mismatch {
        message: format!(
            "`{}` cannot be exported as `{}`",
            args.folder.display(),
            format.name()
        ),
        source: Some(
            format!(
                "`{name}` is stored as {}, of which values are read",
                tensor.stored
            )
            .into(),
        ),
        hint: Some(
            "`--format dense` holds its values; `quench quantize` quantizes it again".to_owned(),
        ),
    })
}

fn write(
    args: &ExportArgs,
    reader: &ArtifactReader,
    format: &'static dyn Format,
    progress: &Progress,
) -> Result<Written, Error> {
    let to = |error| failed(format!("cannot write `{}`", args.output.display()), error);
    let from = |error| failed(format!("cannot read `{}`", args.folder.display()), error);
    let options = WriterOptions {
        format,
        shard_bytes: SHARD_BYTES,
        overwrite: args.force || args.force_foreign,
    };
    let mut writer = ArtifactWriter::create(&args.output, options).map_err(to)?;
    let kept: Vec<&str> = reader
        .folder()
        .names()
        .filter(|name| !reader.is_part(name))
        .collect();
    let decoded = reader.decoded();
    let all = kept.len() + reader.layers().len() + decoded.len();
    let track = progress.stage("export", all);
    for name in kept {
        let (dtype, shape, bytes) = reader.raw(name).map_err(from)?;
        writer.passthrough(name, dtype, shape, &bytes).map_err(to)?;
        reader.folder().release(name);
        track.advance(1);
    }
    let originals = reader.originals();
    for name in decoded.keys() {
        track.now(name);
        let values = reader.values(name).map_err(from)?;
        let original = &originals[name];
        // The type it is kept in may be narrower than the one that is asked for.
        let dtype = format.kept_type(original.dtype);
        writer
            .changed(name, dtype, &original.shape, &values)
            .map_err(to)?;
        track.advance(1);
    }
    for (name, stored) in reader.layers() {
        track.now(name);
        let tensor = reader.layer(name).map_err(from)?;
        writer.layer(name, &tensor, &stored.scheme).map_err(to)?;
        track.advance(1);
    }
    let made = gguf::side_files(reader.folder()).map_err(from)?;
    for (name, content) in &made {
        writer.file(name, content).map_err(to)?;
    }
    if made.is_empty() {
        writer.side_files(&args.folder).map_err(to)?;
    }
    writer
        .finish(
            &reader.original_config(),
            &linear_layers(&args.folder, reader),
        )
        .map_err(to)
}

/// Every linear layer of the model, or only the quantized ones if its architecture is not known.
fn linear_layers(folder: &Path, reader: &ArtifactReader) -> Vec<String> {
    let config = Value::Object(reader.config().clone());
    let model = Artifact::open(folder)
        .ok()
        .and_then(|weights| open_model(&config, &weights).ok());
    match model {
        Some(model) => model
            .layers()
            .iter()
            .map(|layer| layer.name.clone())
            .collect(),
        None => reader.layers().keys().cloned().collect(),
    }
}

/// The registry entry that `--format` and `--dtype` name together.
fn format(args: &ExportArgs) -> Result<&'static dyn Format, Error> {
    let unknown = || Error::Usage {
        message: format!("unknown format `{}`", args.format),
        hint: nearest(&args.format, FORMATS.iter().map(|format| format.name()))
            .as_deref()
            .map(did_you_mean),
    };
    if args.format != "dense" {
        if args.dtype.is_some() {
            return Err(Error::usage("`--dtype` is for `--format dense`"));
        }
        return find(&args.format).ok_or_else(unknown);
    }
    let name = match args.dtype.unwrap_or(DtypeChoice::F32) {
        DtypeChoice::F32 => "dense",
        DtypeChoice::F16 => "dense-f16",
        DtypeChoice::Bf16 => "dense-bf16",
    };
    find(name).ok_or_else(unknown)
}

fn failed(message: String, error: FormatError) -> Error {
    let hint = error.hint();
    let failed = match error {
        FormatError::Unsupported { .. } | FormatError::Range { .. } => {
            Error::mismatch(message, error)
        }
        _ => Error::io(message, error),
    };
    failed.hinted(hint)
}
