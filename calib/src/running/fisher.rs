//! Statistics of the loss gradient, streamed block by block.
//!
//! The diagonal Fisher is `F = sum over sequences of (d loss / d w)^2`, the loss of a sequence being its mean
//! next-token loss (SqueezeLLM, section 4.1); guided Hessians weigh the second moments of a layer's inputs with the
//! gradients of its outputs. A forward pass keeps the input of every block; then, from the last
//! stage to the first, a block is rebuilt, re-run on its kept input, and the gradient that came from the
//! stage after it is sent back through it. Memory: one block, one tape, the kept inputs within a budget
//! (the rest in a scratch file), never a model. A second budget holds the tapes of as many blocks as fit,
//! which then are not run twice; neither changes a bit of the result.
//!
//! Sums are taken sequence after sequence, so the thread count does not change a bit.

mod kept_inputs;
mod key_values;
mod loss;
mod observers;
mod passes;
mod saver;
mod tapes;

pub use key_values::{AttentionGradients, KeyValueOptions, walk_key_values};
pub use tapes::{StageSize, TapedStages, stage_sizes};

use super::error::CollectError;
use super::forward::Forward;
use super::measured::{StageStatistics, Wants};
use super::stats_store::StatsStore;
use super::walk::StageWalk;
use crate::heap::give_back_freed_memory;
use crate::{Hidden, LayerSpec};
use passes::Passes;
use quantizers::statistics::TOKEN_COUNT;
use saver::Saver;
use std::path::PathBuf;

/// How to walk backward.
#[derive(Debug, Clone)]
pub struct FisherOptions {
    /// What is wanted of the gradients of layers, and of the inputs of those layers.
    pub wants: Wants,
    /// Seed of the output samples of models without next-token loss.
    pub seed: u64,
    /// Bytes of block inputs kept in memory; the rest goes to a scratch file.
    pub memory_bytes: u64,
    /// Bytes of tapes kept, so that their blocks are not run twice; 0 for the least memory.
    pub tape_bytes: u64,
    /// Folder of the scratch file.
    pub scratch: PathBuf,
}

/// One calibration sequence.
#[derive(Debug, Clone)]
pub struct Sequence {
    /// What the first stage takes; a batch of one.
    pub input: Hidden,
    /// Its token ids, the targets of the next-token loss; empty for images.
    pub tokens: Vec<u32>,
}

/// Walks the sequences forward to the loss and back, and hands the wanted statistics of gradients (and
/// of the inputs of their layers) of each stage to `on_stage` when the backward pass leaves it, last stage first.
///
/// `progress` is told `(stages done, stages)`, counting the forward pass and the backward pass.
/// Returns the loss of each sequence where the model has a next-token loss, else an empty list.
///
/// # Errors
/// Those of `on_stage`; a stage fails; a layer is outside the blocks; a value or gradient is not finite.
pub fn walk_backward<E: From<CollectError>>(
    forward: &Forward<'_>,
    sequences: &[Sequence],
    options: &FisherOptions,
    on_stage: &mut dyn FnMut(usize, StageStatistics) -> Result<(), E>,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Vec<f64>, E> {
    let model = forward.model();
    let stages = model.stages();
    let wanted = wanted_layers(forward, &options.wants)?;
    let Some(first) = wanted.iter().position(|layers| !layers.is_empty()) else {
        return Ok(Vec::new());
    };
    let steps = 2 * stages - 1 - first;
    let batches = sequences.iter().map(|sequence| sequence.input.clone());
    let mut walk = StageWalk::new(model, batches.collect());
    for stage in 0..first {
        walk.advance(forward).map_err(CollectError::from)?;
        progress(stage + 1, steps);
    }
    let mut passes = Passes::new(forward, sequences, wanted, first, options)?;
    passes.plan(walk.hidden())?;
    for stage in first..stages - 1 {
        passes.forward(&mut walk)?;
        progress(stage + 1, steps);
    }
    passes.end(walk.hidden())?;
    drop(walk);
    give_back_freed_memory();

    let mut losses = Vec::new();
    let mut gradients = Vec::new();
    for stage in (first..stages).rev() {
        let swept = passes.backward(stage, gradients)?;
        if stage == stages - 1 {
            losses = swept.losses;
            // Logits are like nothing that follows.
            give_back_freed_memory();
        }
        gradients = swept.input_gradients;
        on_stage(stage, swept.statistics)?;
        progress(2 * stages - 1 - stage, steps);
    }
    Ok(losses)
}

/// [`walk_backward`] into `store`, one file per stage and statistic; nothing is run where the store has it all.
///
/// # Errors
/// As [`walk_backward`], and of the store.
pub fn collect_fisher(
    forward: &Forward<'_>,
    sequences: &[Sequence],
    options: &FisherOptions,
    store: &StatsStore,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Vec<f64>, CollectError> {
    let wanted = wanted_layers(forward, &options.wants)?;
    let is_stored = |(stage, layers): (usize, &Vec<&LayerSpec>)| {
        let wants = options.wants.of_stage(forward.model(), stage);
        let wants = wants.at_inputs_of(layers);
        let mut points = wants.points().flat_map(|(point, statistics)| {
            let statistics = statistics.iter();
            statistics.map(move |stat| (stat.0, point))
        });
        let mut gradients = wants.layer_statistics();
        gradients.all(|(layer, stat)| store.covers(stat.0, stage, [layer]))
            && points.all(|(statistic, point)| {
                let at = layers.iter().filter(|layer| layer.input_point == point);
                if *statistic == TOKEN_COUNT {
                    store.covers(statistic, stage, at.map(|layer| layer.name.as_str()))
                } else {
                    store.covers(statistic, stage, [point])
                }
            })
    };
    if wanted.iter().enumerate().all(is_stored) {
        return Ok(Vec::new());
    }
    let mut losses = Vec::new();
    Saver::with(store, |saver| {
        losses = walk_backward(
            forward,
            sequences,
            options,
            &mut |stage, statistics| saver.save(stage, statistics),
            progress,
        )?;
        Ok(())
    })?;
    Ok(losses)
}

/// The layers of whose gradients something is wanted, by stage.
fn wanted_layers<'a>(
    forward: &Forward<'a>,
    wants: &Wants,
) -> Result<Vec<Vec<&'a LayerSpec>>, CollectError> {
    let model = forward.model();
    let mut wanted: Vec<Vec<&LayerSpec>> = vec![Vec::new(); model.stages()];
    for (name, statistic) in wants.layer_statistics() {
        let Some(layer) = model.layers().iter().find(|layer| layer.name == name) else {
            return Err(CollectError::NoPoint {
                point: name.to_owned(),
            });
        };
        if !layer.in_block {
            return Err(CollectError::Unsupported {
                statistic: statistic.0.name,
                layer: layer.name.clone(),
                reason: "gradients are tracked for the linear layers inside blocks only",
            });
        }
        // Several statistics of one layer follow each other.
        let of_stage = &mut wanted[layer.stage];
        if of_stage.last().is_none_or(|last| last.name != layer.name) {
            of_stage.push(layer);
        }
    }
    Ok(wanted)
}
