//! Forward statistics, streamed: every calibration batch goes through one stage before the next
//! stage is built, and observers see each input point once per batch.

use crate::observers::{Accumulator, Observer};
use crate::stats_store::{Entries, Entry, StatsStore, StoreError};
use crate::{Forward, Hidden, StageError, Tap};
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
    /// An input of a layer is NaN or infinite.
    #[error("calibration input of `{point}` is not finite (sequence {sequence})")]
    NotFinite {
        /// Input point.
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

/// What to collect: the input points of interest and the observers that look at them.
#[derive(Clone)]
pub struct Collection<'a> {
    /// Input points; others are passed by.
    pub points: BTreeSet<String>,
    /// Observers, each applied to every point.
    pub observers: Vec<&'a dyn Observer>,
}

/// Keeps the inputs of the wanted points of one batch.
struct Capture<'a> {
    points: &'a BTreeSet<String>,
    seen: Vec<(String, Tensor<2>)>,
}

impl Tap for Capture<'_> {
    fn observe(&mut self, point: &str, input: &Tensor<3>) {
        if self.points.contains(point) {
            let [batch, tokens, width] = input.dims();
            self.seen.push((
                point.to_owned(),
                input.clone().reshape([batch * tokens, width]),
            ));
        }
    }
}

/// Runs `batches` through the model and stores what the observers saw, stage by stage.
///
/// Batches pass a stage in parallel; observers take them in their given order, so the result does
/// not depend on the number of threads. `progress` is told `(stages done, stages)`.
///
/// # Errors
/// A stage or the store fails, or an input is not finite.
pub fn collect(
    forward: &Forward<'_>,
    mut batches: Vec<Hidden>,
    collection: &Collection<'_>,
    store: &StatsStore,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<(), CollectError> {
    let model = forward.model();
    let stage_of: BTreeMap<&str, usize> = model
        .layers()
        .iter()
        .filter(|layer| collection.points.contains(&layer.input_point))
        .map(|layer| (layer.input_point.as_str(), layer.stage))
        .collect();
    let Some(last) = stage_of.values().copied().max() else {
        return Ok(());
    };
    let missing: Vec<&dyn Observer> = collection
        .observers
        .iter()
        .copied()
        .filter(|observer| {
            !(0..=last).all(|stage| {
                let names = stage_of
                    .iter()
                    .filter(|(_, at)| **at == stage)
                    .map(|(name, _)| *name);
                names.clone().next().is_none() || store.covers(observer.name(), stage, names)
            })
        })
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
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
                    for (point, input) in seen {
                        observe(&mut accumulators, &missing, point, &input, outputs.len())?;
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

type Accumulators = BTreeMap<String, Vec<Box<dyn Accumulator>>>;

fn observe(
    accumulators: &mut Accumulators,
    observers: &[&dyn Observer],
    point: String,
    input: &Tensor<2>,
    sequence: usize,
) -> Result<(), CollectError> {
    // One reduction instead of a pass over the values: any NaN or infinity makes the sum so.
    let sum: f32 = input.clone().abs().sum().into_scalar();
    if !sum.is_finite() {
        return Err(CollectError::NotFinite { point, sequence });
    }
    let width = input.dims()[1];
    let slots = accumulators.entry(point).or_insert_with(|| {
        observers
            .iter()
            .map(|observer| observer.start(width))
            .collect()
    });
    for slot in slots {
        slot.add(input.clone());
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
            let (shape, values) = slot.finish();
            entries.insert(point.clone(), Entry { shape, values });
        }
    }
    for (observer, entries) in observers.iter().zip(&by_observer) {
        store.write(observer.name(), stage, entries)?;
    }
    Ok(())
}
