//! What calibration saw at every point of an encoder, read from the cache stage by stage.

use super::calibrate::{self, Calibrated};
use crate::Error;
use crate::model::OpenModel;
use crate::plan::QuantizeRequest;
use crate::progress::Progress;
use calib::Forward;
use calib::collect::{Collection, collect};
use calib::observers;
use calib::point_statistics::stage_statistics;
use calib::stats_store::{Entries, StatsStore, StoreError};
use quantizers::Stat;
use quantizers::integer::compile::PointStatistics;
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};

/// The observer of second moments.
const HESSIAN: &str = "hessian";
/// Stages whose statistics stay in memory: the compile step looks ahead by one.
const RESIDENT: usize = 3;

/// Statistics of one calibration run.
pub(super) struct Activations {
    store: StatsStore,
    /// Sequences or images they are of.
    samples: usize,
    /// The stage of each point.
    stages: BTreeMap<String, usize>,
    /// Those read last.
    resident: RefCell<VecDeque<(usize, BTreeMap<String, PointStatistics>)>>,
    /// Second moments of the stage read last.
    hessians: RefCell<Option<(usize, Entries)>>,
}

impl Activations {
    /// Runs the calibration data through the model, or finds that done already.
    ///
    /// # Errors
    /// Data that cannot be read, a model that cannot be run, a full disk.
    pub(super) fn collect(
        model: &OpenModel,
        forward: &Forward<'_>,
        request: &QuantizeRequest,
        progress: &Progress,
    ) -> Result<Self, Error> {
        let Some(planned) = &request.plan.calibration else {
            return Err(Error::Bug {
                message: "an integer-only plan without calibration".to_owned(),
                source: None,
            });
        };
        let Calibrated {
            store, sequences, ..
        } = calibrate::prepare(model, forward, planned, request, progress)?;
        let mut collections = vec![Collection::for_integers(model.model.as_ref())];
        if planned
            .statistics
            .iter()
            .any(|name| name == Stat::Hessian.name())
        {
            let layers = model.model.layers().iter();
            collections.push(Collection {
                points: layers.map(|layer| layer.input_point.clone()).collect(),
                observers: observers::find(HESSIAN).into_iter().collect(),
            });
        }
        for collection in collections {
            let batches = sequences
                .iter()
                .map(|sequence| sequence.input.clone())
                .collect();
            calibrate::watched(progress, "calibrate", |report| {
                collect(forward, batches, &collection, &store, report)
            })
            .map_err(|error| calibrate::collect_error(model, error))?;
        }
        let stages = (0..model.model.stages())
            .flat_map(|stage| {
                let points = model.model.points(stage).into_iter();
                points.map(move |point| (point.name, stage))
            })
            .collect();
        Ok(Self {
            store,
            samples: sequences.len(),
            stages,
            resident: RefCell::new(VecDeque::new()),
            hessians: RefCell::new(None),
        })
    }

    /// Where they are.
    pub(super) fn store(&self) -> &StatsStore {
        &self.store
    }

    /// Sequences or images they are of.
    pub(super) fn samples(&self) -> usize {
        self.samples
    }

    /// What was seen at `point`; nothing where nobody looked.
    ///
    /// # Errors
    /// A file of the cache that cannot be read.
    pub(super) fn at(&self, point: &str) -> Result<Option<PointStatistics>, StoreError> {
        let Some(&stage) = self.stages.get(point) else {
            return Ok(None);
        };
        let mut resident = self.resident.borrow_mut();
        if let Some((_, points)) = resident.iter().find(|(at, _)| *at == stage) {
            return Ok(points.get(point).cloned());
        }
        // Dropped first: what is not needed any more makes room for what is.
        while resident.len() >= RESIDENT {
            resident.pop_front();
        }
        let points = stage_statistics(&self.store, stage)?;
        let found = points.get(point).cloned();
        resident.push_back((stage, points));
        Ok(found)
    }

    /// `X^T X` at the input `point` of a layer, `[cols, cols]`; nothing where it was not asked for.
    ///
    /// # Errors
    /// A file of the cache that cannot be read.
    pub(super) fn hessian(&self, point: &str) -> Result<Option<Vec<f32>>, StoreError> {
        let Some(&stage) = self.stages.get(point) else {
            return Ok(None);
        };
        let mut read = self.hessians.borrow_mut();
        if read.as_ref().is_none_or(|(at, _)| *at != stage) {
            *read = None;
            *read = Some((stage, self.store.read(HESSIAN, stage)?));
        }
        let entries = read.as_ref().map(|(_, entries)| entries);
        Ok(entries
            .and_then(|entries| entries.get(point))
            .map(|entry| entry.values.clone()))
    }
}
