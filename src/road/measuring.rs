//! Options of layers on their way into a file of scores.

use super::job::{LayerJob, LayerResult};
use super::receiver::Receiver;
use crate::Error;
use crate::plan::{OptionScore, PlannedLayer};
use calib::{Model, ModelOutput};
use quantizers::MatrixRef;
use quantizers::formats::{Format, StoredSize};
use quantizers::sensitivity::{LayerError, Score, Sensitivity};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// Scores each option, and keeps what it decodes to where the model is to be run with it.
pub(super) struct Scoring<'a> {
    pub(super) format: &'static dyn Format,
    pub(super) kinds: &'a [&'static Sensitivity],
    /// Turns sums over squared gradients of sequences into those of one token.
    pub(super) per_token: f64,
    /// Where decoded weights wait; absent where nobody reads them again.
    pub(super) kept: Option<&'a Path>,
    /// Scores of the planned layers, by their position; [`OptionScore::option`] is not known yet.
    pub(super) scores: BTreeMap<usize, OptionScore>,
}

impl Receiver for Scoring<'_> {
    fn receive(
        &mut self,
        index: usize,
        job: &LayerJob<'_>,
        result: &LayerResult,
    ) -> Result<StoredSize, Error> {
        let planned = job.planned;
        let [rows, cols] = planned.shape;
        let misshapen = |error: quantizers::ShapeError| Error::Bug {
            message: format!("`{}` changed its shape", planned.name),
            source: Some(Box::new(error)),
        };
        let stats = job.stats();
        let layer = LayerError {
            original: MatrixRef::new(&result.weight, rows, cols).map_err(misshapen)?,
            approximation: MatrixRef::new(&result.decoded, rows, cols).map_err(misshapen)?,
            stats: &stats,
            per_token: self.per_token,
        };
        let mut scores = BTreeMap::new();
        for kind in self.kinds {
            if let Score::OfLayer(score) = kind.score {
                let score = score(&layer).map_err(|error| {
                    Error::mismatch(
                        format!("cannot find `{}` of `{}`", kind.name, planned.name),
                        error,
                    )
                })?;
                scores.insert(kind.name.to_owned(), score);
            }
        }
        if let Some(folder) = self.kept {
            keep(folder, index, &result.decoded)?;
        }
        let outliers = result.tensor.outliers.as_ref();
        let outliers = outliers.map_or(0, |sparse| sparse.values.len());
        let scheme = &planned.plan.scheme;
        let scale_type = planned.plan.scale_type;
        let bits = self
            .format
            .planned_bits(scheme, rows, cols, scale_type, outliers);
        self.scores.insert(
            index,
            OptionScore {
                option: 0,
                bits,
                outliers,
                outlier_factor: job.outlier_factor,
                sqnr_db: result.sqnr_db,
                scores,
            },
        );
        Ok(StoredSize {
            weights: planned.weights(),
            bits,
        })
    }
}

fn file(folder: &Path, index: usize) -> PathBuf {
    folder.join(format!("{index}.f32"))
}

fn keep(folder: &Path, index: usize, values: &[f32]) -> Result<(), Error> {
    let path = file(folder, index);
    let written = fs_err::File::create(&path).and_then(|file| {
        let mut file = std::io::BufWriter::new(file);
        for value in values {
            file.write_all(&value.to_le_bytes())?;
        }
        file.flush()
    });
    written.map_err(|error| Error::io("cannot keep a decoded layer", error))
}

/// What the option at `index` decodes to, as it was kept in `folder`.
///
/// # Errors
/// A file that cannot be read.
pub(super) fn kept(folder: &Path, index: usize, planned: &PlannedLayer) -> Result<Vec<f32>, Error> {
    let path = file(folder, index);
    let read = fs_err::File::open(&path).and_then(|mut file| {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    });
    let bytes =
        read.map_err(|error| Error::io(format!("cannot read `{}` again", planned.name), error))?;
    let values = bytes.chunks_exact(4).map(|bytes| {
        let mut value = [0; 4];
        value.copy_from_slice(bytes);
        f32::from_le_bytes(value)
    });
    Ok(values.collect())
}

/// What turns squared gradients, summed over `lengths.len()` sequences, into those of one token: the loss of a sequence
/// is a mean over its predicted tokens, a sum over its tokens, or that of the sequence as a whole.
pub(super) fn per_token(model: &dyn Model, lengths: &[usize]) -> f64 {
    let sequences = lengths.len().max(1) as f64;
    let tokens: usize = lengths.iter().sum();
    match model.output() {
        ModelOutput::TokenLogits => {
            let predicted: usize = lengths.iter().map(|length| length.saturating_sub(1)).sum();
            predicted.max(1) as f64 / (sequences * sequences)
        }
        ModelOutput::MaskedTokenLogits | ModelOutput::TokenClassLogits => {
            1.0 / tokens.max(1) as f64
        }
        ModelOutput::ClassLogits | ModelOutput::HiddenStates => 1.0 / sequences,
    }
}
