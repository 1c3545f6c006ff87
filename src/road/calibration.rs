//! Calibration data as inputs of the first stage, and the places on disk that calibrating needs.

use super::data;
use crate::model::OpenModel;
use crate::plan::{PlannedCalibration, QuantizeRequest};
use crate::progress::{Progress, interrupt};
use crate::{Error, cache};
use calib::inputs::Inputs;
use calib::running::error::CollectError;
use calib::running::expert_calibration::ExpertTokens;
use calib::running::fisher::Sequence;
use calib::running::stats_store::{Key, StatsStore};
use calib::{Forward, Hidden};

/// Calibration data, ready to walk.
pub(super) struct Calibration {
    /// The data as inputs of the first stage.
    pub(super) sequences: Vec<Sequence>,
    inputs: Inputs,
}

impl Calibration {
    /// Reads (or makes) the calibration data.
    ///
    /// # Errors
    /// Data that cannot be read.
    pub(super) fn read(
        model: &OpenModel,
        forward: &Forward<'_>,
        planned: &PlannedCalibration,
        request: &QuantizeRequest,
        progress: &Progress,
    ) -> Result<Self, Error> {
        let inputs = data::for_calibration(
            (&model.name, &model.folder),
            forward,
            planned,
            request.plan.seed,
            &request.fetch,
            progress,
        )?;
        let sequences = token_sequences(&inputs).into_iter().enumerate();
        let sequences = sequences
            .map(|(index, tokens)| Sequence {
                input: inputs.batch(&[index], forward.device()),
                tokens,
            })
            .collect();
        Ok(Self { sequences, inputs })
    }

    /// The inputs alone, a batch for each sequence.
    pub(super) fn batches(&self) -> Vec<Hidden> {
        let sequences = self.sequences.iter();
        sequences.map(|sequence| sequence.input.clone()).collect()
    }

    /// Tokens of each sequence; of an image one.
    pub(super) fn lengths(&self) -> Vec<usize> {
        self.inputs.lengths()
    }

    /// The statistics of this model on this data that earlier runs kept.
    ///
    /// # Errors
    /// A cache that cannot be used.
    pub(super) fn kept_statistics(
        &self,
        model: &OpenModel,
        request: &QuantizeRequest,
        progress: &Progress,
    ) -> Result<StatsStore, Error> {
        let mut key = Key::default()
            .with_checkpoint(model.checkpoint.tensors())
            .with("config", model.checkpoint.config().to_string().as_bytes())
            .with("seed", &request.plan.seed.to_le_bytes())
            .with_tokens(&token_sequences(&self.inputs));
        if let Some(rewrite) = model.rewrite_key() {
            key = key.with("rewrite", rewrite.as_bytes());
        }
        let planned = request.plan.calibration.as_ref();
        let experts = planned.and_then(|planned| planned.experts);
        if let Some(experts) = experts.filter(|experts| experts.tokens != ExpertTokens::Routed) {
            let shown = format!("{:?} {}", experts.tokens, experts.min_tokens);
            key = key.with("experts", shown.as_bytes());
        }
        if let Inputs::Pixels { images, .. } = &self.inputs {
            for image in images {
                let bytes: Vec<u8> = image.iter().flat_map(|value| value.to_le_bytes()).collect();
                key = key.with("image", &bytes);
            }
        }
        let root = cache::folder(progress);
        StatsStore::open(root, &key).map_err(|error| {
            Error::io(
                format!("cannot use the statistics cache `{}`", root.display()),
                error,
            )
        })
    }
}

/// Token ids of every sequence; empty ones for images.
fn token_sequences(inputs: &Inputs) -> Vec<Vec<u32>> {
    match inputs {
        Inputs::Tokens(sequences) => sequences.clone(),
        Inputs::Pixels { images, .. } => vec![Vec::new(); images.len()],
    }
}

/// A folder for what is needed only while this run lasts; it goes when the value is dropped.
///
/// # Errors
/// A cache folder that cannot be written.
pub(super) fn scratch_folder(progress: &Progress) -> Result<tempfile::TempDir, Error> {
    let root = cache::folder(progress);
    let made = fs_err::create_dir_all(root).and_then(|()| tempfile::tempdir_in(root));
    let made = made.map_err(|error| {
        Error::io(
            format!("cannot use the cache folder `{}`", root.display()),
            error,
        )
    })?;
    interrupt::remove_on_interrupt(made.path());
    Ok(made)
}

/// Runs `body` with a bar over its stages.
pub(super) fn watched<R>(
    progress: &Progress,
    name: &str,
    body: impl FnOnce(&mut dyn FnMut(usize, usize)) -> R,
) -> R {
    let mut track = None;
    body(&mut |_done, total| {
        track
            .get_or_insert_with(|| progress.stage(name, total))
            .advance(1);
    })
}

/// What failed while `model` was calibrated.
pub(super) fn failed(model: &OpenModel, error: CollectError) -> Error {
    let message = format!("cannot calibrate `{}`", model.name);
    match error {
        CollectError::Store(error) => Error::io(message, error),
        other => Error::mismatch(message, other),
    }
}
