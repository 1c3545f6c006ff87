//! Forward statistics, streamed: every calibration batch goes through one stage before the next
//! stage is built, and observers see each point once per batch.

use crate::observers::{Accumulator, Batch, LENGTHS, OBSERVERS, Observer};
use crate::stats_store::{Entries, Entry, StatsStore, StoreError};
use crate::{Forward, Hidden, Model, StageError, Tap};
use burn::tensor::Tensor;
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
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

/// Values kept verbatim at the widest point of a model, about: 8 MiB.
const SAMPLE_VALUES: usize = 1 << 21;

/// What to collect: the points of interest and the observers that look at them.
#[derive(Clone)]
pub struct Collection<'a> {
    /// Points; others are passed by.
    pub points: BTreeSet<String>,
    /// Observers, each applied to every point.
    pub observers: Vec<&'a dyn Observer>,
}

impl Collection<'static> {
    /// Everything [`crate::point_statistics::stage_statistics`] reads, at every point of `model`.
    pub fn for_integers(model: &dyn Model) -> Self {
        Self {
            points: (0..model.stages())
                .flat_map(|stage| model.points(stage))
                .map(|point| point.name)
                .collect(),
            observers: OBSERVERS
                .iter()
                .copied()
                .filter(|observer| observer.form().is_some())
                .map(|observer| observer as &dyn Observer)
                .collect(),
        }
    }
}

/// Keeps what was seen at the wanted points in one batch.
struct Capture<'a> {
    points: &'a BTreeSet<String>,
    seen: Vec<(String, Tensor<3>)>,
}

impl Tap for Capture<'_> {
    fn observe(&mut self, point: &str, values: &Tensor<3>) {
        if self.points.contains(point) {
            self.seen.push((point.to_owned(), values.clone()));
        }
    }
}

/// Which sequences are kept verbatim: the first ones, as long as their rows fit at the widest
/// point, and at least one. Nothing but the model and the sequences matters, so every collection
/// keeps the same ones.
struct Sample {
    rows_left: usize,
    /// Sequences of each batch so far; empty batches after the last that fits.
    kept: Vec<usize>,
    full: bool,
}

impl Sample {
    fn new(model: &dyn Model) -> Self {
        let points = (0..model.stages()).flat_map(|stage| model.points(stage));
        let widest = points.map(|point| point.width).max().unwrap_or(1);
        Self {
            rows_left: SAMPLE_VALUES / widest.max(1),
            kept: Vec::new(),
            full: false,
        }
    }

    /// Decides on the next batch by its hidden states after the first stage.
    fn decide(&mut self, output: &Hidden) {
        let [sequences, rows] = match output {
            Hidden::States(states) => [states.dims()[0], states.dims()[1]],
            Hidden::Tokens(tokens) => tokens.dims(),
            Hidden::Pixels(pixels) => [pixels.dims()[0], 1],
        };
        let first = usize::from(self.kept.is_empty());
        let fit = (self.rows_left / rows.max(1)).max(first).min(sequences);
        let kept = if self.full { 0 } else { fit };
        self.full |= kept < sequences;
        self.rows_left = self.rows_left.saturating_sub(kept * rows);
        self.kept.push(kept);
    }
}

/// Runs `batches` through the model and stores what the observers saw, stage by stage.
///
/// Batches pass a stage in parallel; observers take them in their given order, so the result does
/// not depend on the number of threads. `progress` is told `(stages done, stages)`.
///
/// # Errors
/// A point the model does not have, a stage or the store fails, or a value is not finite.
pub fn collect(
    forward: &Forward<'_>,
    mut batches: Vec<Hidden>,
    collection: &Collection<'_>,
    store: &StatsStore,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<(), CollectError> {
    let model = forward.model();
    let stages = wanted_points(model, &collection.points)?;
    let Some(last) = stages.iter().rposition(|points| !points.is_empty()) else {
        return Ok(());
    };
    let missing: Vec<&dyn Observer> = collection
        .observers
        .iter()
        .copied()
        .filter(|observer| {
            !stages.iter().enumerate().all(|(stage, points)| {
                let names = points.iter().map(String::as_str);
                points.is_empty() || store.covers(observer.name(), stage, names)
            })
        })
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut sample = Sample::new(model);
    for stage in 0..=last {
        let mut accumulators = BTreeMap::new();
        batches = forward.with_stage(stage, |built| {
            let mut outputs = Vec::with_capacity(batches.len());
            let chunk = rayon::current_num_threads();
            let mut rest = std::mem::take(&mut batches).into_iter();
            loop {
                let group: Vec<Hidden> = rest.by_ref().take(chunk).collect();
                if group.is_empty() {
                    return Ok::<_, CollectError>(outputs);
                }
                let results: Vec<_> = group
                    .into_par_iter()
                    .map(|hidden| {
                        let mut capture = Capture {
                            points: &collection.points,
                            seen: Vec::new(),
                        };
                        built
                            .forward(hidden, &mut capture)
                            .map(|output| (output, capture.seen))
                    })
                    .collect();
                for result in results {
                    let (output, seen) = result?;
                    let index = outputs.len();
                    if stage == 0 {
                        sample.decide(&output);
                    }
                    for (point, values) in seen {
                        let [sequences, rows, width] = values.dims();
                        let batch = Batch {
                            values: values.reshape([sequences * rows, width]),
                            sequences,
                            kept: sample.kept[index],
                        };
                        observe(&mut accumulators, &missing, point, &batch, index)?;
                    }
                    outputs.push(output);
                }
            }
        })??;
        save(accumulators, &missing, stage, store)?;
        progress(stage + 1, last + 1);
    }
    Ok(())
}

/// The wanted points of each stage.
fn wanted_points(
    model: &dyn Model,
    wanted: &BTreeSet<String>,
) -> Result<Vec<Vec<String>>, CollectError> {
    let mut unknown = wanted.clone();
    let stages = (0..model.stages())
        .map(|stage| {
            let names = model.points(stage).into_iter().map(|point| point.name);
            let names: Vec<String> = names.filter(|name| wanted.contains(name)).collect();
            for name in &names {
                unknown.remove(name);
            }
            names
        })
        .collect();
    match unknown.pop_first() {
        Some(point) => Err(CollectError::NoPoint { point }),
        None => Ok(stages),
    }
}

type Accumulators = BTreeMap<String, Vec<Box<dyn Accumulator>>>;

fn observe(
    accumulators: &mut Accumulators,
    observers: &[&dyn Observer],
    point: String,
    batch: &Batch,
    sequence: usize,
) -> Result<(), CollectError> {
    // One reduction instead of a pass over the values: any NaN or infinity makes the sum so.
    let sum: f32 = batch.values.clone().abs().sum().into_scalar();
    if !sum.is_finite() {
        return Err(CollectError::NotFinite { point, sequence });
    }
    let width = batch.values.dims()[1];
    let slots = accumulators.entry(point).or_insert_with(|| {
        observers
            .iter()
            .map(|observer| observer.start(width))
            .collect()
    });
    for slot in slots {
        slot.add(batch);
    }
    Ok(())
}

fn save(
    accumulators: Accumulators,
    observers: &[&dyn Observer],
    stage: usize,
    store: &StatsStore,
) -> Result<(), CollectError> {
    if accumulators.is_empty() {
        return Ok(());
    }
    let mut by_observer: Vec<Entries> = observers.iter().map(|_| Entries::new()).collect();
    for (point, slots) in accumulators {
        for (slot, entries) in slots.into_iter().zip(&mut by_observer) {
            if let Some(lengths) = slot.lengths() {
                let entry = Entry {
                    shape: vec![lengths.len()],
                    values: lengths.iter().map(|&length| length as f32).collect(),
                };
                entries.insert(format!("{point}{LENGTHS}"), entry);
            }
            let (shape, values) = slot.finish();
            entries.insert(point.clone(), Entry { shape, values });
        }
    }
    for (observer, entries) in observers.iter().zip(by_observer) {
        store.add(observer.name(), stage, entries)?;
    }
    Ok(())
}
