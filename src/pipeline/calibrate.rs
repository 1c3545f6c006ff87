//! Calibration: data through the model, statistics into the cache, from there to each layer.

use super::data;
use crate::Error;
use crate::model::OpenModel;
use crate::plan::{PlannedCalibration, PlannedLayer, QuantizeRequest};
use crate::progress::{Progress, memory};
use calib::collect::{CollectError, Collection, collect};
use calib::fisher::{self, FisherOptions, Sequence, collect_fisher};
use calib::inputs::Inputs;
use calib::observers::{self, Observer};
use calib::stats_store::{Entries, Key, StatsStore};
use calib::{Forward, Hidden};
use quantizers::Stat;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// The input range of weight-only methods is the plain one.
const RANGE: &str = "min_max";
const ABS_MEAN: &str = "abs_mean";
const HESSIAN: &str = "hessian";
/// Memory that may be spent on running blocks once instead of twice.
const MAX_TAPE_BYTES: u64 = 1 << 30;

/// Statistics of a run, read block by block.
pub(super) struct Statistics {
    store: Option<StatsStore>,
    kinds: BTreeSet<&'static str>,
    /// The entries of the stage that was read last.
    read: RefCell<Option<(usize, BTreeMap<&'static str, Entries>)>>,
}

/// What was measured for one layer.
#[derive(Default)]
pub(super) struct Measured {
    /// `[rows, cols]`, row = output channel.
    pub(super) fisher: Option<Vec<f32>>,
    /// `[cols, cols]`.
    pub(super) hessian: Option<Vec<f32>>,
    /// `[cols]`.
    pub(super) input_abs_mean: Option<Vec<f32>>,
    /// `[cols]`, times the number of tokens.
    pub(super) input_mean_square: Option<Vec<f32>>,
    /// Smallest and largest.
    pub(super) input_range: Option<(f32, f32)>,
}

impl Statistics {
    fn none() -> Self {
        Self {
            store: None,
            kinds: BTreeSet::new(),
            read: RefCell::new(None),
        }
    }

    /// The statistics of one layer.
    ///
    /// # Errors
    /// A file of the cache that cannot be read.
    pub(super) fn of(&self, planned: &PlannedLayer, model: &OpenModel) -> Result<Measured, Error> {
        let Some(store) = &self.store else {
            return Ok(Measured::default());
        };
        let mut read = self.read.borrow_mut();
        if read
            .as_ref()
            .is_none_or(|(stage, _)| *stage != planned.stage)
        {
            // Dropped first: the statistics of two blocks need not fit in memory.
            *read = None;
            let mut entries = BTreeMap::new();
            for kind in &self.kinds {
                let found = store.read(kind, planned.stage).map_err(|error| {
                    Error::io(
                        format!("cannot read the statistics of `{}`", planned.name),
                        error,
                    )
                })?;
                entries.insert(*kind, found);
            }
            *read = Some((planned.stage, entries));
        }
        let Some((_, entries)) = read.as_ref() else {
            return Ok(Measured::default());
        };
        let spec = model
            .model
            .layers()
            .iter()
            .find(|layer| layer.name == planned.name);
        let point = spec.map_or("", |layer| layer.input_point.as_str());
        let of = |kind: &str, name: &str| {
            entries
                .get(kind)
                .and_then(|found| found.get(name))
                .map(|entry| entry.values.clone())
        };
        let [rows, cols] = planned.shape;
        let fisher = of(fisher::KIND, &planned.name).map(|values| {
            if planned.scheme.transposed {
                calib::artifact::transpose(&values, cols, rows)
            } else {
                values
            }
        });
        let input_range = of(RANGE, point).and_then(|range| match range[..] {
            [low, high] => Some((low, high)),
            _ => None,
        });
        let hessian = of(HESSIAN, point);
        let diagonal = |values: &Vec<f32>| values.iter().step_by(cols + 1).copied().collect();
        Ok(Measured {
            fisher,
            input_mean_square: hessian.as_ref().map(diagonal),
            hessian,
            input_abs_mean: of(ABS_MEAN, point),
            input_range,
        })
    }
}

/// Collects what the plan's methods ask for, and the Hessian for the report.
///
/// # Errors
/// Data that cannot be read, a model that cannot be run, a full disk.
pub(super) fn run(
    model: &OpenModel,
    forward: &Forward<'_>,
    request: &QuantizeRequest,
    progress: &Progress,
) -> Result<Statistics, Error> {
    let Some(planned) = &request.plan.calibration else {
        return Ok(Statistics::none());
    };
    let Calibrated {
        store,
        sequences,
        root,
    } = prepare(model, forward, planned, request, progress)?;
    let failed = |error: CollectError| collect_error(model, error);

    let mut kinds = BTreeSet::from([HESSIAN]);
    let wanted: BTreeSet<&str> = planned.statistics.iter().map(String::as_str).collect();
    if wanted.contains(Stat::InputAbsMean.name()) {
        kinds.insert(ABS_MEAN);
    }
    if wanted.contains(Stat::InputRange.name()) {
        kinds.insert(RANGE);
    }
    let names: BTreeSet<&str> = request
        .plan
        .layers
        .iter()
        .map(|layer| layer.name.as_str())
        .collect();
    let collection = Collection {
        points: model
            .model
            .layers()
            .iter()
            .filter(|layer| names.contains(layer.name.as_str()))
            .map(|layer| layer.input_point.clone())
            .collect(),
        observers: kinds
            .iter()
            .filter_map(|kind| observers::find(kind))
            .collect::<Vec<&dyn Observer>>(),
    };
    let batches: Vec<Hidden> = sequences
        .iter()
        .map(|sequence| sequence.input.clone())
        .collect();
    watched(progress, "calibrate", |report| {
        collect(forward, batches, &collection, &store, report)
    })
    .map_err(failed)?;
    if wanted.contains(Stat::Fisher.name()) {
        let free = memory::available_bytes().unwrap_or(0);
        let options = FisherOptions {
            layers: fisher_layers(request)?,
            seed: request.plan.seed,
            memory_bytes: free / 4,
            tape_bytes: (free / 4).min(MAX_TAPE_BYTES),
            scratch: root.clone(),
        };
        watched(progress, "fisher", |report| {
            collect_fisher(forward, &sequences, &options, &store, report).map(drop)
        })
        .map_err(failed)?;
        kinds.insert(fisher::KIND);
    }
    Ok(Statistics {
        store: Some(store),
        kinds,
        read: RefCell::new(None),
    })
}

/// Calibration data, and the place of what it shows.
pub(super) struct Calibrated {
    /// Statistics of this model on this data.
    pub(super) store: StatsStore,
    /// The data as inputs of the first stage.
    pub(super) sequences: Vec<Sequence>,
    /// The folder of all statistics.
    root: PathBuf,
}

/// Reads the calibration data and opens the cache of its statistics.
///
/// # Errors
/// Data that cannot be read, a cache that cannot be used.
pub(super) fn prepare(
    model: &OpenModel,
    forward: &Forward<'_>,
    planned: &PlannedCalibration,
    request: &QuantizeRequest,
    progress: &Progress,
) -> Result<Calibrated, Error> {
    let inputs = data::for_calibration(
        &model.folder,
        forward,
        planned,
        request.plan.seed,
        &request.fetch,
        progress,
    )?;
    let tokens = match &inputs {
        Inputs::Tokens(sequences) => sequences.clone(),
        Inputs::Pixels { images, .. } => vec![Vec::new(); images.len()],
    };
    let mut key = Key::default()
        .with_checkpoint(model.checkpoint.tensors())
        .with("config", model.checkpoint.config().to_string().as_bytes())
        .with("seed", &request.plan.seed.to_le_bytes())
        .with_tokens(&tokens);
    if let Inputs::Pixels { images, .. } = &inputs {
        for image in images {
            let bytes: Vec<u8> = image.iter().flat_map(|value| value.to_le_bytes()).collect();
            key = key.with("image", &bytes);
        }
    }
    let root = cache_folder();
    let store = StatsStore::open(&root, &key).map_err(|error| {
        Error::io(
            format!("cannot use the statistics cache `{}`", root.display()),
            error,
        )
    })?;
    let sequences: Vec<Sequence> = tokens
        .into_iter()
        .enumerate()
        .map(|(index, tokens)| Sequence {
            input: inputs.batch(&[index], forward.device()),
            tokens,
        })
        .collect();
    Ok(Calibrated {
        store,
        sequences,
        root,
    })
}

/// The layers whose method reads the Fisher.
fn fisher_layers(request: &QuantizeRequest) -> Result<BTreeSet<String>, Error> {
    let quantizers = request.plan.quantizers().map_err(|error| Error::Bug {
        message: "the plan does not configure its own methods".to_owned(),
        source: Some(error.into()),
    })?;
    Ok(request
        .plan
        .layers
        .iter()
        .zip(&quantizers)
        .filter(|(_, quantizer)| quantizer.needs().contains(&Stat::Fisher))
        .map(|(layer, _)| layer.name.clone())
        .collect())
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

/// `QUENCH_CACHE`, else `quench` in the user's cache folder, else in the folder for temporary files.
fn cache_folder() -> PathBuf {
    let under = |name: &str, rest: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(|value| PathBuf::from(value).join(rest))
    };
    under("QUENCH_CACHE", "statistics")
        .or_else(|| under("XDG_CACHE_HOME", "quench/statistics"))
        .or_else(|| under("HOME", ".cache/quench/statistics"))
        .unwrap_or_else(|| std::env::temp_dir().join("quench/statistics"))
}

pub(super) fn collect_error(model: &OpenModel, error: CollectError) -> Error {
    let message = format!("cannot calibrate `{}`", model.name);
    match error {
        CollectError::Store(error) => Error::io(message, error),
        other => Error::mismatch(message, other),
    }
}
