//! The loop over the stages of a model: observe, quantize, hand over, advance.
//!
//! Without gradients the blocks go first to last. Where a method reads gradients and nothing else has to
//! wait for them, the blocks go last to first, each when the backward pass leaves it. Which of the two it is
//! stands in the plan.

use super::calibration::{self, Calibration, watched};
use super::experts::{Starved, StarvedLayers};
use super::job::{LayerJob, LayerResult, TunedResult, layer_seed};
use super::receiver::Receiver;
use super::statistics::{StoredStatistics, fisher_options};
use super::tuning_record::TuningRecord;
use crate::Error;
use crate::model::OpenModel;
use crate::plan::{BlockOrder, PlannedCalibration, PlannedLayer, QuantizeRequest};
use crate::progress::{Progress, Track};
use calib::running::error::CollectError;
use calib::running::expert_calibration::ExpertCalibration;
use calib::running::fisher::walk_backward;
use calib::running::measured::{StageStatistics, Wants};
use calib::running::overlay::{Changed, Overlay};
use calib::running::walk::StageWalk;
use calib::{Forward, LayerSpec, WeightSource};
use quantizers::transforms::ConfiguredTransform;
use quantizers::{Quantizer, Sequential};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// Quantizes the layers of one model, stage by stage, for whoever receives them.
pub(super) struct Blocks<'a> {
    pub(super) model: &'a OpenModel,
    pub(super) request: &'a QuantizeRequest,
    progress: &'a Progress,
    pub(super) layers: Vec<Layer<'a>>,
    receiver: &'a mut dyn Receiver,
    /// Layers handed over.
    done: usize,
    track: Track,
    /// Seconds spent quantizing and handing over; the rest of the loop is calibration.
    quantizing: f64,
    pub(super) transforms: Vec<Box<dyn ConfiguredTransform>>,
    pub(super) edited: BTreeMap<String, Changed>,
    pub(super) notes: Vec<String>,
    starved: StarvedLayers,
}

/// One planned layer.
pub(super) struct Layer<'a> {
    pub(super) planned: &'a PlannedLayer,
    pub(super) spec: &'a LayerSpec,
    pub(super) quantizer: Box<dyn Quantizer>,
    /// Shared by all layers with the same outlier target.
    outlier_factor: Option<f64>,
}

/// What the loop leaves.
pub(super) struct Finished {
    /// Seconds of the loop that went into quantizing and handing over.
    pub(super) quantizing: f64,
    /// Tensors besides those layers that transforms changed.
    pub(super) edited: BTreeMap<String, Changed>,
    /// What transforms say of blocks.
    pub(super) notes: Vec<String>,
}

impl<'a> Blocks<'a> {
    /// Prepares the loop; `factors` are the shared outlier factors by planned layer.
    ///
    /// # Errors
    /// A plan that does not configure its own methods or names a layer the model lacks.
    pub(super) fn new(
        model: &'a OpenModel,
        request: &'a QuantizeRequest,
        factors: &[Option<f64>],
        receiver: &'a mut dyn Receiver,
        progress: &'a Progress,
    ) -> Result<Self, Error> {
        let bug = |message: String, source| Error::Bug { message, source };
        let planned = &request.plan.layers;
        let specs = model.model.layers().iter();
        let specs: BTreeMap<&str, &LayerSpec> =
            specs.map(|spec| (spec.name.as_str(), spec)).collect();
        let layers = planned.iter().zip(factors).map(|(planned, factor)| {
            let spec = specs.get(planned.name.as_str()).copied();
            let spec = spec.ok_or_else(|| {
                let message = format!("the plan names `{}`, no layer of the model", planned.name);
                bug(message, None)
            })?;
            let quantizer = planned.quantizer().map_err(|error| {
                let message = "the plan does not configure its own methods".to_owned();
                bug(message, Some(error.into()))
            })?;
            Ok(Layer {
                planned,
                spec,
                quantizer,
                outlier_factor: *factor,
            })
        });
        let transforms = request.plan.transforms.iter().map(|planned| {
            planned.configured().map_err(|error| {
                let message = "the plan does not configure its own transforms".to_owned();
                bug(message, Some(error.into()))
            })
        });
        Ok(Self {
            model,
            request,
            progress,
            layers: layers.collect::<Result<_, Error>>()?,
            receiver,
            done: 0,
            track: progress.stage("quantize", planned.len()),
            quantizing: 0.0,
            transforms: transforms.collect::<Result<_, Error>>()?,
            edited: BTreeMap::new(),
            notes: Vec::new(),
            starved: StarvedLayers::default(),
        })
    }

    /// Quantizes every planned layer; `calibration` is what the plan measures on.
    ///
    /// # Errors
    /// Weights that cannot be read, a model that cannot be run, a layer its method refuses, a full
    /// disk.
    pub(super) fn run(
        mut self,
        forward: &Forward<'_>,
        calibration: Option<&Calibration>,
    ) -> Result<Finished, Error> {
        match self.request.plan.calibration.as_ref().zip(calibration) {
            None => {
                for stage in 0..self.model.model.stages() {
                    self.stage(stage, &StageStatistics::default())?;
                }
            }
            Some((planned, calibration)) => match planned.order {
                BlockOrder::LastToFirst => self.backward(forward, planned, calibration)?,
                BlockOrder::FirstToLast => self.forward(forward, planned, calibration)?,
            },
        }
        if let Some(warning) = self.starved.warning(self.request) {
            self.progress.warn(&warning);
        }
        Ok(Finished {
            quantizing: self.quantizing,
            edited: self.edited,
            notes: self.notes,
        })
    }

    /// Last block to first, each with its gradients when the backward pass leaves it.
    fn backward(
        &mut self,
        forward: &Forward<'_>,
        planned: &PlannedCalibration,
        calibration: &Calibration,
    ) -> Result<(), Error> {
        let scratch = calibration::scratch_folder(self.progress)?;
        let options = fisher_options(planned, self.request, self.wants(), scratch.path());
        let (model, progress) = (self.model, self.progress);
        let mut left: BTreeSet<usize> = (0..model.model.stages()).collect();
        let walked = watched(progress, "fisher", |report| {
            let mut leave = |stage, statistics: StageStatistics| {
                left.remove(&stage);
                self.stage(stage, &statistics).map_err(Failure::Road)
            };
            let sequences = &calibration.sequences;
            walk_backward(forward, sequences, &options, &mut leave, report)
        });
        walked.map_err(|failure| match failure {
            Failure::Collect(error) => calibration::failed(model, error),
            Failure::Road(error) => error,
        })?;
        // Stages before the first layer that reads gradients.
        for stage in left {
            self.stage(stage, &StageStatistics::default())?;
        }
        Ok(())
    }

    /// First block to last; sequential methods see what the quantized blocks before make of the data.
    fn forward(
        &mut self,
        forward: &Forward<'_>,
        planned: &PlannedCalibration,
        calibration: &Calibration,
    ) -> Result<(), Error> {
        let model = self.model;
        let wants = self.wants();
        let plan = (planned, self.request);
        let stored =
            StoredStatistics::measure(model, forward, calibration, plan, &wants, self.progress)?;
        let stages = model.model.stages();
        let sequential = planned.sequential != Sequential::No;
        let rewritten = !self.transforms.is_empty();
        let is_observed = |stage: &usize| {
            let mut planned = self.layers.iter().map(|layer| layer.planned);
            rewritten
                || !wants.of_stage(model.model.as_ref(), *stage).no_points()
                || planned.any(|layer| layer.stage == *stage && layer.plan.tuning.is_some())
        };
        let observed = match (0..stages).rfind(is_observed) {
            Some(last) if sequential || rewritten || !planned.keep_statistics => last + 1,
            _ => 0,
        };
        let calibrating = self.progress.stage("calibrate", observed);
        let start = || StageWalk::new(model.model.as_ref(), calibration.batches());
        let layers: Vec<&PlannedLayer> = self.layers.iter().map(|layer| layer.planned).collect();
        let mut tuning = TuningRecord::new(&layers, start, self.progress);
        let mut walk = start();
        let mut overlay = Overlay::new(model.weights());
        for stage in 0..stages {
            let waiting = stored.of_stage(stage)?;
            if stage >= observed {
                self.stage(stage, &waiting)?;
                continue;
            }
            if sequential || rewritten {
                let data = (&mut walk, &mut tuning);
                self.overlaid_stage(data, forward, &mut overlay, &waiting)?;
            } else {
                self.fixed_stage(&mut walk, forward, waiting)?;
            }
            calibrating.advance(1);
        }
        self.notes.extend(tuning.and_then(|record| record.note()));
        Ok(())
    }

    /// Everything the plan measures.
    fn wants(&self) -> Wants {
        let all: Vec<usize> = (0..self.layers.len()).collect();
        self.wants_of(&all)
    }

    /// What the layers of experts are measured on.
    pub(super) fn experts(&self) -> ExpertCalibration {
        let planned = self.request.plan.calibration.as_ref();
        let experts = planned.and_then(|planned| planned.experts);
        experts.unwrap_or_default()
    }

    pub(super) fn wants_of(&self, layers: &[usize]) -> Wants {
        let mut wants = Wants::default().with_experts(self.experts());
        for &index in layers {
            let layer = &self.layers[index];
            for stat in self.request.plan.needs_of(layer.planned) {
                wants.layer(layer.spec, stat.0);
            }
        }
        wants
    }

    /// Quantizes all layers of a stage from the original weights.
    fn stage(&mut self, stage: usize, statistics: &StageStatistics) -> Result<(), Error> {
        for index in self.layers_of(stage) {
            self.quantize(index, self.model.weights(), statistics, None)?;
        }
        Ok(())
    }

    /// Quantizes and hands over one layer of `weights`; `tuned` is what it has become already.
    pub(super) fn quantize(
        &mut self,
        index: usize,
        weights: &dyn WeightSource,
        statistics: &StageStatistics,
        tuned: Option<TunedResult>,
    ) -> Result<LayerResult, Error> {
        let started = Instant::now();
        let layer = &self.layers[index];
        let planned = layer.planned;
        self.track.now(&planned.name);
        let starved = Starved::of(planned, &layer.spec.input_point, statistics, self.request);
        if let Some(starved) = &starved {
            self.progress
                .say(&format!("`{}`: {}", planned.name, starved.note));
            self.starved.add(starved);
        }
        let mut job = LayerJob {
            model_name: &self.model.name,
            weights,
            planned,
            quantizer: layer.quantizer.as_ref(),
            values: statistics.of_layer(layer.spec),
            outlier_factor: layer.outlier_factor,
            seed: layer_seed(self.request.plan.seed, &planned.name),
            starved,
            tuned,
        };
        let result = job.run()?;
        let size = self.receiver.receive(index, &job, &result)?;
        self.done += 1;
        let line = result.line(planned, size, self.done, self.layers.len());
        self.progress.layer(&line);
        self.track.advance(1);
        self.quantizing += started.elapsed().as_secs_f64();
        Ok(result)
    }
}

/// What ends a backward walk early.
enum Failure {
    Collect(CollectError),
    Road(Error),
}

impl From<CollectError> for Failure {
    fn from(error: CollectError) -> Self {
        Self::Collect(error)
    }
}
