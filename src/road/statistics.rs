//! Statistics that were measured before the loop over the blocks begins: those that have to wait for
//! their block, and those a later run is to find again.

use super::calibration::{self, Calibration, watched};
use crate::Error;
use crate::model::OpenModel;
use crate::plan::{PlannedCalibration, QuantizeRequest};
use crate::progress::Progress;
use calib::Forward;
use calib::running::collect::collect;
use calib::running::error::CollectError;
use calib::running::fisher::{FisherOptions, collect_fisher};
use calib::running::measured::{StageStatistics, Wants};
use calib::running::stats_store::{Key, StatsStore};
use quantizers::Sequential;
use quantizers::statistics::STATISTICS;
use std::path::Path;

/// Statistics in files; without `keep_statistics` the files go when this is dropped.
pub(super) struct StoredStatistics<'a> {
    model: &'a OpenModel,
    store: Option<(StatsStore, Option<tempfile::TempDir>)>,
}

impl<'a> StoredStatistics<'a> {
    /// Measures what the plan wants kept, and gradients, which have to wait for a loop that goes forward.
    ///
    /// # Errors
    /// A model that cannot be run, a full disk.
    pub(super) fn measure(
        model: &'a OpenModel,
        forward: &Forward<'_>,
        calibration: &Calibration,
        (planned, request): (&PlannedCalibration, &QuantizeRequest),
        wants: &Wants,
        progress: &Progress,
    ) -> Result<Self, Error> {
        let failed = |error: CollectError| calibration::failed(model, error);
        let gradients = wants.only_layers();
        if !planned.keep_statistics && gradients.is_empty() {
            return Ok(Self { model, store: None });
        }
        let (store, scratch) = if planned.keep_statistics {
            (calibration.kept_statistics(model, request, progress)?, None)
        } else {
            let scratch = calibration::scratch_folder(progress)?;
            let store = StatsStore::open(scratch.path(), &Key::default());
            (store.map_err(|error| failed(error.into()))?, Some(scratch))
        };
        // Of weights that change on the way nothing is kept.
        let fixed = planned.sequential == Sequential::No && request.plan.transforms.is_empty();
        if planned.keep_statistics && fixed {
            watched(progress, "calibrate", |report| {
                collect(forward, calibration.batches(), wants, &store, report)
            })
            .map_err(failed)?;
        }
        if !gradients.is_empty() {
            let folder = calibration::scratch_folder(progress)?;
            let options = fisher_options(planned, request, gradients, folder.path());
            watched(progress, "fisher", |report| {
                let sequences = &calibration.sequences;
                collect_fisher(forward, sequences, &options, &store, report).map(drop)
            })
            .map_err(failed)?;
        }
        Ok(Self {
            model,
            store: Some((store, scratch)),
        })
    }

    /// Everything there is of `stage`.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub(super) fn of_stage(&self, stage: usize) -> Result<StageStatistics, Error> {
        let mut statistics = StageStatistics::default();
        let Some((store, _)) = &self.store else {
            return Ok(statistics);
        };
        for statistic in STATISTICS {
            if store.has(statistic, stage) {
                let entries = store.read(statistic, stage);
                let failed = |error| calibration::failed(self.model, CollectError::Store(error));
                statistics.insert(statistic, entries.map_err(failed)?);
            }
        }
        Ok(statistics)
    }
}

/// How the plan walks backward.
pub(super) fn fisher_options(
    planned: &PlannedCalibration,
    request: &QuantizeRequest,
    wants: Wants,
    scratch: &Path,
) -> FisherOptions {
    FisherOptions {
        wants,
        seed: request.plan.seed,
        memory_bytes: planned.kept_input_bytes,
        tape_bytes: planned.tape_bytes,
        scratch: scratch.to_owned(),
    }
}
