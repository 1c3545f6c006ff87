//! From MODEL on the command line to an open checkpoint; reads headers only.

mod demo;
mod fingerprint;
mod integer_weights;
mod kept_cache;
mod reference;
mod rewritten;
mod tied_head;
mod values;

use crate::Error;
use crate::plan::ModelFacts;
use crate::progress::Progress;
use calib::artifact::Artifact;
use calib::hub::{FetchOptions, HubError, RepoId, fetch_model};
use calib::{
    Checkpoint, CheckpointError, Model, ModelError, WeightSource, open_model, unknown_model,
};
use integer_weights::IntegerWeights;
use quantizers::formats::marker::is_marked;
use quantizers::formats::{ArtifactWriter, FormatError, gguf};
pub(crate) use reference::DEMO;
use reference::ModelReference;
use rewritten::RewrittenModel;
use std::path::{Path, PathBuf};

/// A checkpoint on this machine, and the model its config.json describes.
pub struct OpenModel {
    /// `org/name`, the folder as given, or `demo`.
    pub name: String,
    /// Commit, for Hub models.
    pub revision: Option<String>,
    /// The folder.
    pub folder: PathBuf,
    /// Configuration, headers and mapped tensors as stored.
    pub checkpoint: Checkpoint,
    /// The tensors as the original checkpoint had them, quantized layers decoded when asked for.
    pub artifact: Artifact,
    /// Names and shapes of an integer-only folder, which has no float weights to read.
    integer: Option<IntegerWeights>,
    /// Stages and layers.
    pub model: Box<dyn Model>,
    /// How the checkpoint differs from the one that is stored, where a transform rewrites it.
    rewritten: Option<RewrittenModel>,
    /// Keeps the demo model's folder until the end.
    _demo: Option<demo::DemoFolder>,
}

impl OpenModel {
    /// Opens `text` as named on the command line, downloading it if it is on the Hub; `revision` is
    /// that of a Hub model whose `text` names none.
    ///
    /// # Errors
    /// A model that is not there, cannot be fetched or is no checkpoint of a known family.
    pub fn open(
        text: &str,
        revision: Option<&str>,
        fetch: &FetchOptions,
        progress: &Progress,
    ) -> Result<Self, Error> {
        let reference: ModelReference = text.parse()?;
        if revision.is_some() && !matches!(reference, ModelReference::Hub(_)) {
            return Err(Error::usage(format!(
                "`--revision` is for Hub models, and `{text}` is not one"
            )));
        }
        match reference {
            ModelReference::Demo => {
                let folder = demo::DemoFolder::create()?;
                let path = folder.path().to_owned();
                Self::at(DEMO.to_owned(), None, path, Some(folder))
            }
            ModelReference::Folder(folder) => Self::at(text.to_owned(), None, folder, None),
            ModelReference::Hub(id) => {
                let id = match (revision, id.revision()) {
                    (Some(_), Some(_)) => {
                        return Err(Error::usage(format!(
                            "`{text}` and `--revision` both name a revision"
                        )));
                    }
                    (Some(revision), None) => id.at(revision).map_err(hub_error)?,
                    (None, _) => id,
                };
                let snapshot =
                    fetch_model(&id, fetch, progress).map_err(|error| not_fetched(&id, error))?;
                Self::at(id.path(), Some(snapshot.commit), snapshot.folder, None)
            }
        }
    }

    fn at(
        name: String,
        revision: Option<String>,
        folder: PathBuf,
        demo: Option<demo::DemoFolder>,
    ) -> Result<Self, Error> {
        let checkpoint =
            Checkpoint::open(&folder).map_err(|error| checkpoint_error(&folder, error))?;
        let artifact = Artifact::open(&folder)
            .map_err(|error| checkpoint_error(&folder, CheckpointError::Weights(error)))?;
        let integer = IntegerWeights::of(artifact.reader());
        let known: &dyn WeightSource = match &integer {
            Some(integer) => integer,
            None => &artifact,
        };
        let model = match open_model(checkpoint.config(), known) {
            // Its matrices can be quantized all the same, by methods that read nothing else.
            Err(ModelError::UnknownType { found: Some(_) }) if integer.is_none() => {
                unknown_model(checkpoint.config(), known)
            }
            opened => opened.map_err(|error| model_error(&name, error))?,
        };
        if integer.is_none() {
            let is_decoded = |name: &str| artifact.decodes(name);
            checkpoint
                .check_types(model.as_ref(), &is_decoded)
                .map_err(|error| model_error(&name, error.into()))?;
        }
        Ok(Self {
            name,
            revision,
            folder,
            checkpoint,
            artifact,
            integer,
            model,
            rewritten: None,
            _demo: demo,
        })
    }

    /// Whether the folder holds quantized layers.
    pub fn is_quantized(&self) -> bool {
        self.artifact.reader().quant_method().is_some()
    }

    /// The model as something to quantize: what quench wrote is refused, what other programs quantized is decoded,
    /// and told. Inputs of its layers stay floats.
    ///
    /// # Errors
    /// A folder that quench quantized.
    pub fn into_original(mut self, progress: &Progress) -> Result<Self, Error> {
        let ours = is_marked(&self.folder) || self.is_integer_only();
        if let Some(method) = self.artifact.reader().quant_method().filter(|_| ours) {
            return Err(Error::Mismatch {
                message: format!("`{}` is quantized already ({method})", self.name),
                source: None,
                hint: Some(if self.is_integer_only() {
                    "it is an integer program; start from the original".to_owned()
                } else {
                    "`quench export --format dense` makes a plain checkpoint of it".to_owned()
                }),
            });
        }
        self.warn_of_baseline(progress);
        self.artifact = self.artifact.with_float_inputs();
        Ok(self)
    }

    /// Says so where the model others are compared with is itself quantized.
    pub fn warn_of_baseline(&self, progress: &Progress) {
        if let Some(how) = self.artifact.reader().quantized_forms() {
            progress.warn(&format!(
                "the baseline is itself quantized: {how}; what it lost against the model before cannot be seen here"
            ));
        }
        self.warn_of_inputs(progress);
    }

    /// Says so where a model that is evaluated alone was quantized by another program.
    pub fn warn_of_quantization(&self, progress: &Progress) {
        let how = self.artifact.reader().quantized_forms();
        if let Some(how) = how.filter(|_| !is_marked(&self.folder)) {
            progress.warn(&format!(
                "`{}` is itself quantized: {how}; name what it was made from with `--baseline` to see what that cost",
                self.name
            ));
        }
        self.warn_of_inputs(progress);
    }

    /// Says so where engines round more than is rounded here.
    pub fn warn_of_inputs(&self, progress: &Progress) {
        let layers = self.artifact.reader().unrounded_inputs();
        if layers > 0 {
            progress.warn(&format!(
                "engines that run `{}` round the inputs of {layers} layers to 8 bits; they stay floats here",
                self.name
            ));
        }
    }

    /// The folder that was written for `original`.
    ///
    /// # Errors
    /// Files that do not open as the model they were made from.
    pub fn written(original: &Self, folder: &Path) -> Result<Self, Error> {
        Self::at(
            original.name.clone(),
            original.revision.clone(),
            folder.to_owned(),
            None,
        )
    }

    /// Writes what a model needs beside its weights: the files beside them, or those that a GGUF file stands for.
    ///
    /// # Errors
    /// A file that cannot be read or written.
    pub(crate) fn copy_side_files(&self, writer: &mut ArtifactWriter) -> Result<(), FormatError> {
        let made = gguf::side_files(self.checkpoint.tensors())?;
        for (name, content) in &made {
            writer.file(name, content)?;
        }
        if made.is_empty() {
            writer.side_files(&self.folder)?;
        }
        Ok(())
    }

    /// Whether the folder holds an integer program instead of float tensors.
    pub fn is_integer_only(&self) -> bool {
        self.integer.is_some()
    }

    /// Where stages take their weights from, which are those a transform makes of the stored ones where there is one.
    pub fn weights(&self) -> &dyn WeightSource {
        match &self.integer {
            Some(integer) => integer,
            None if !self.artifact.reader().is_plain() => &self.artifact,
            None => &self.checkpoint,
        }
    }

    /// How quantized layers are stored: `quant_method` of config.json, `dense` where there are none.
    pub fn format_name(&self) -> &'static str {
        self.artifact.reader().quant_method().unwrap_or("dense")
    }

    /// What planning knows of it.
    pub fn facts(&self) -> ModelFacts {
        let facts = ModelFacts::new(
            self.name.clone(),
            self.revision.clone(),
            self.known(),
            &self.artifact.reader().originals(),
            self.model.as_ref(),
            &self.second_names(),
        );
        let derived = calib::derived_type(self.checkpoint.config(), self.known());
        let note = derived.map(|(name, tensor)| {
            format!("config.json has no `model_type`: taken for `{name}`, because there is a tensor `{tensor}`")
        });
        let within = self.model.within().map(|larger| {
            format!(
                "of this `{}` the language tower (`{}`, names that begin with `{}`) is quantized, and evaluated on \
                 text alone; the rest is copied unchanged",
                larger.model_type,
                self.model.architecture(),
                larger.prefix,
            )
        });
        let notes = note.into_iter().chain(within);
        ModelFacts {
            notes: notes.chain(self.notes_of_rewrite()).collect(),
            rewrite: self.rewrite(),
            // A head that has become a tensor of its own is no more of a model than it was.
            parameters: self.stored_parameters().unwrap_or(facts.parameters),
            ..facts
        }
    }

    /// Names and shapes of the tensors as the original checkpoint had them.
    fn known(&self) -> &dyn WeightSource {
        match &self.integer {
            Some(integer) => integer,
            None => &self.artifact,
        }
    }
}

/// A model that could not be fetched; where the Hub does not have it, a folder may have been meant.
fn not_fetched(id: &RepoId, error: HubError) -> Error {
    let elsewhere = matches!(
        error,
        HubError::RepoNotFound { .. }
            | HubError::Unreachable { cached: false, .. }
            | HubError::OfflineMiss { .. }
    );
    let hint = match &error {
        HubError::OfflineMiss { .. } => error
            .hint()
            .map(|hint| format!("{hint}; there is no folder of that name here")),
        _ if elsewhere => Some(reference::instead_of_hub(id)),
        _ => error.hint(),
    };
    hub_error(error).hinted(hint)
}

fn hub_error(error: HubError) -> Error {
    let hint = error.hint();
    match error {
        HubError::BadId { .. } => Error::Usage {
            message: error.to_string(),
            hint,
        },
        other => Error::io("cannot get the model from the Hub", other).hinted(hint),
    }
}

/// A folder that cannot be opened as a checkpoint.
fn checkpoint_error(folder: &Path, error: CheckpointError) -> Error {
    let hint = error.hint();
    let message = format!("cannot open checkpoint `{}`", folder.display());
    match error {
        // The files are whole, and not of a kind that is read.
        CheckpointError::Weights(error @ FormatError::Config { .. }) => {
            Error::mismatch(message, error)
        }
        error => Error::io(message, error),
    }
    .hinted(hint)
}

fn model_error(name: &str, error: ModelError) -> Error {
    let hint = error.hint();
    Error::mismatch(
        format!("checkpoint `{name}` cannot be opened as a model"),
        error,
    )
    .hinted(hint)
}
