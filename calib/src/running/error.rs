//! Calibration that could not be carried through.

use crate::StageError;
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Calibration that could not be carried through.
#[derive(Debug, Error)]
pub enum CollectError {
    /// A stage failed.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system gives no more threads.
    #[error("cannot start worker threads")]
    Threads(#[from] rayon::ThreadPoolBuildError),
    /// A point the model does not have.
    #[error("the model has no point `{point}`")]
    NoPoint {
        /// The name asked for.
        point: String,
    },
    /// An activation is NaN or infinite.
    #[error("calibration values at `{point}` are not finite (sequence {sequence})")]
    NotFinite {
        /// The point.
        point: String,
        /// Index of the calibration sequence.
        sequence: usize,
    },
    /// A statistic needs something this model does not offer.
    #[error("cannot collect `{statistic}` for `{layer}`: {reason}")]
    Unsupported {
        /// Statistic name.
        statistic: &'static str,
        /// Layer name.
        layer: String,
        /// Why not.
        reason: &'static str,
    },
}

/// Statistics that cannot be written or read.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Reading, writing or creating a file failed; the message names it.
    #[error("cannot use the statistics cache")]
    Io(#[from] io::Error),
    /// A file of the store is not what this program wrote.
    #[error("`{file}` is damaged: {reason}")]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}
