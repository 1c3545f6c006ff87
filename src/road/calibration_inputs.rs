//! What calibration sees at every point of an encoder, measured stage by stage as the compile step asks.

use super::calibration::{self, Calibration, watched};
use crate::Error;
use crate::model::OpenModel;
use crate::plan::QuantizeRequest;
use crate::progress::{Progress, Track};
use calib::running::collect::collect;
use calib::running::error::CollectError;
use calib::running::measured::{Entries, StageStatistics, Wants};
use calib::running::point_statistics::{by_point, is_read_by_compiler};
use calib::running::stats_store::StatsStore;
use calib::running::walk::StageWalk;
use calib::{Forward, Hidden, Model};
use quantizers::integer::compile::PointStatistics;
use quantizers::statistics::{HESSIAN, MIN_MAX, STATISTICS};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};

/// Stages whose statistics stay in memory: the compile step looks ahead by one.
const RESIDENT: usize = 3;

/// Statistics of one calibration run.
pub(super) struct CalibrationInputs<'a> {
    forward: &'a Forward<'a>,
    /// Sequences or images they are of.
    samples: usize,
    /// The stage of each point.
    stages: BTreeMap<String, usize>,
    wants: Wants,
    batches: Vec<Hidden>,
    /// Where earlier runs kept them.
    store: Option<StatsStore>,
    measured: RefCell<Measured>,
}

/// How far the data has walked, and the stages read last.
struct Measured {
    walk: StageWalk,
    resident: VecDeque<Stage>,
    /// Largest magnitude at each point of the stages walked so far.
    magnitudes: BTreeMap<String, f32>,
    track: Track,
}

struct Stage {
    index: usize,
    points: BTreeMap<String, PointStatistics>,
    hessians: Entries,
}

impl<'a> CalibrationInputs<'a> {
    /// Reads the calibration data and puts it before the first stage; with `keep_statistics` all of it is
    /// measured here, or found in the cache.
    ///
    /// # Errors
    /// Data that cannot be read, a model that cannot be run, a full disk.
    pub(super) fn prepare(
        model: &OpenModel,
        forward: &'a Forward<'a>,
        request: &QuantizeRequest,
        progress: &Progress,
    ) -> Result<Self, Error> {
        let Some(planned) = &request.plan.calibration else {
            return Err(Error::Bug {
                message: "an integer-only plan without calibration".to_owned(),
                source: None,
            });
        };
        let calibration = Calibration::read(model, forward, planned, request, progress)?;
        let mut wants = Wants::for_integers(model.model.as_ref());
        if planned.statistics.iter().any(|name| name == HESSIAN.name) {
            for layer in model.model.layers() {
                wants.layer(layer, &HESSIAN);
            }
        }
        let batches = calibration.batches();
        let store = if planned.keep_statistics {
            let store = calibration.kept_statistics(model, request, progress)?;
            watched(progress, "calibrate", |report| {
                collect(forward, batches.clone(), &wants, &store, report)
            })
            .map_err(|error| calibration::failed(model, error))?;
            Some(store)
        } else {
            None
        };
        let stages = (0..model.model.stages())
            .flat_map(|stage| {
                let points = model.model.points(stage).into_iter();
                points.map(move |point| (point.name, stage))
            })
            .collect();
        Ok(Self {
            forward,
            samples: calibration.sequences.len(),
            stages,
            wants,
            measured: RefCell::new(Measured {
                walk: StageWalk::new(model.model.as_ref(), batches.clone()),
                resident: VecDeque::new(),
                magnitudes: BTreeMap::new(),
                track: progress.stage("calibrate", model.model.stages()),
            }),
            batches,
            store,
        })
    }

    /// Sequences or images they are of.
    pub(super) fn samples(&self) -> usize {
        self.samples
    }

    /// What was seen at `point`; nothing where nobody looked.
    ///
    /// # Errors
    /// A stage that cannot be run, a file of the cache that cannot be read.
    pub(super) fn at(&self, point: &str) -> Result<Option<PointStatistics>, CollectError> {
        self.with_stage_of(point, |stage| stage.points.get(point).cloned())
    }

    /// `X^T X` at the input `point` of a layer, `[cols, cols]`; nothing where it was not asked for.
    ///
    /// # Errors
    /// As [`Self::at`].
    pub(super) fn hessian(&self, point: &str) -> Result<Option<Vec<f32>>, CollectError> {
        self.with_stage_of(point, |stage| {
            let entry = stage.hessians.get(point);
            entry.map(|entry| entry.values.clone())
        })
    }

    /// The largest magnitude at every point of the model.
    ///
    /// # Errors
    /// As [`Self::at`].
    pub(super) fn magnitudes(&self) -> Result<BTreeMap<String, f32>, CollectError> {
        let mut measured = self.measured.borrow_mut();
        for stage in measured.walk.stage()..self.forward.model().stages() {
            self.next(&mut measured, stage)?;
        }
        Ok(measured.magnitudes.clone())
    }

    fn with_stage_of<R>(
        &self,
        point: &str,
        read: impl Fn(&Stage) -> Option<R>,
    ) -> Result<Option<R>, CollectError> {
        let Some(&wanted) = self.stages.get(point) else {
            return Ok(None);
        };
        let mut measured = self.measured.borrow_mut();
        let is_wanted = |stage: &&Stage| stage.index == wanted;
        if let Some(stage) = measured.resident.iter().find(is_wanted) {
            return Ok(read(stage));
        }
        if measured.walk.stage() > wanted {
            // Asked out of order: once more from the start.
            measured.walk = StageWalk::new(self.forward.model(), self.batches.clone());
        }
        for stage in measured.walk.stage()..=wanted {
            self.next(&mut measured, stage)?;
        }
        let found = measured.resident.iter().find(is_wanted);
        Ok(found.and_then(read))
    }

    /// Takes the walk through `stage`, the one it is before.
    fn next(&self, measured: &mut Measured, stage: usize) -> Result<(), CollectError> {
        // Dropped first: what is not needed any more makes room for what is.
        while measured.resident.len() >= RESIDENT {
            measured.resident.pop_front();
        }
        let statistics = match &self.store {
            None => measured
                .walk
                .observe_and_advance(self.forward, &self.wants)?,
            Some(store) => {
                measured.walk.skip();
                stored(store, stage)?
            }
        };
        measured.magnitudes.extend(magnitudes(&statistics));
        let points = by_point(&statistics);
        let points = points.map_err(|(statistic, point)| CollectError::Unsupported {
            statistic: statistic.name,
            layer: point,
            reason: "its values have another shape",
        })?;
        let mut hessians = Entries::new();
        for (statistic, entries) in statistics.iter() {
            if statistic == &HESSIAN {
                hessians.extend(entries.clone());
            }
        }
        measured.resident.push_back(Stage {
            index: stage,
            points,
            hessians,
        });
        measured.track.advance(1);
        Ok(())
    }
}

/// Everything the compile step can ask of a stage, from the cache.
fn stored(store: &StatsStore, stage: usize) -> Result<StageStatistics, CollectError> {
    let mut statistics = StageStatistics::default();
    for statistic in STATISTICS {
        let is_read = is_read_by_compiler(statistic) || *statistic == &HESSIAN;
        if is_read && store.has(statistic, stage) {
            statistics.insert(statistic, store.read(statistic, stage)?);
        }
    }
    Ok(statistics)
}

/// Largest magnitude at every point of the model when `batches` walk through it.
///
/// # Errors
/// A stage that cannot be run.
pub(super) fn walked_magnitudes(
    forward: &Forward<'_>,
    batches: Vec<Hidden>,
) -> Result<BTreeMap<String, f32>, CollectError> {
    let model: &dyn Model = forward.model();
    let mut wants = Wants::default();
    for point in (0..model.stages()).flat_map(|stage| model.points(stage)) {
        wants.point(&point.name, &MIN_MAX);
    }
    let mut found = BTreeMap::new();
    let mut walk = StageWalk::new(model, batches);
    for _ in 0..model.stages() {
        found.extend(magnitudes(&walk.observe_and_advance(forward, &wants)?));
    }
    Ok(found)
}

/// The largest magnitude at the points of one stage.
fn magnitudes(statistics: &StageStatistics) -> Vec<(String, f32)> {
    let ranges = statistics
        .iter()
        .filter(|(statistic, _)| *statistic == &MIN_MAX);
    ranges
        .flat_map(|(_, entries)| entries)
        .map(|(point, entry)| {
            let largest = |most: f32, x: &f32| most.max(x.abs());
            (point.clone(), entry.values.iter().fold(0.0, largest))
        })
        .collect()
}
