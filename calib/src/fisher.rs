//! Diagonal Fisher, streamed block by block.
//!
//! `F = sum over sequences of (d loss / d w)^2`, the loss of a sequence being its mean next-token
//! loss (SqueezeLLM, section 4.1). A forward pass keeps the input of every block; then, from the last
//! stage to the first, a block is rebuilt, re-run on its kept input, and the gradient that came from the
//! stage after it is sent back through it. Memory: one block, one tape, the kept inputs within a budget
//! (the rest in a scratch file), never a model. A second budget holds the tapes of as many blocks as fit,
//! which then are not run twice; neither changes a bit of the result.
//!
//! Squares accumulate in f32, sequence after sequence, so the thread count does not change a bit.

mod kept_inputs;
mod loss;
mod passes;
mod saver;
mod squares;

use crate::collect::CollectError;
use crate::stats_store::StatsStore;
use crate::{Forward, Hidden, LayerSpec};
use passes::Passes;
use saver::Saver;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Name of the statistic in the store.
pub const KIND: &str = "fisher";

/// How to collect.
#[derive(Debug, Clone)]
pub struct FisherOptions {
    /// Layers whose weights' Fisher is wanted.
    pub layers: BTreeSet<String>,
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

/// Collects the diagonal Fisher of `options.layers` and writes it to `store`, one file per stage.
///
/// `progress` is told `(stages done, stages)`, counting the forward pass and the backward pass.
/// Answers each sequence's loss where the model has a next-token loss, else nothing.
///
/// # Errors
/// A stage or the store fails; a layer is outside the blocks; a gradient is not finite.
pub fn collect_fisher(
    forward: &Forward<'_>,
    sequences: &[Sequence],
    options: &FisherOptions,
    store: &StatsStore,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Vec<f64>, CollectError> {
    let model = forward.model();
    let stages = model.stages();
    let mut wanted: Vec<Vec<&LayerSpec>> = vec![Vec::new(); stages];
    for layer in model.layers() {
        if !options.layers.contains(&layer.name) {
            continue;
        }
        if !layer.in_block {
            return Err(CollectError::Unsupported {
                statistic: KIND,
                layer: layer.name.clone(),
                reason: "gradients are tracked for the linear layers inside blocks only",
            });
        }
        wanted[layer.stage].push(layer);
    }
    let Some(first) = wanted.iter().position(|layers| !layers.is_empty()) else {
        return Ok(Vec::new());
    };
    let is_stored = |(stage, layers): (usize, &Vec<&LayerSpec>)| {
        let names = layers.iter().map(|layer| layer.name.as_str());
        layers.is_empty() || store.covers(KIND, stage, names)
    };
    if wanted.iter().enumerate().all(is_stored) {
        return Ok(Vec::new());
    }

    let steps = 2 * stages - 1 - first;
    let mut batches: Vec<Hidden> = sequences
        .iter()
        .map(|sequence| sequence.input.clone())
        .collect();
    for stage in 0..first {
        batches = forward.run(stage..stage + 1, batches)?;
        progress(stage + 1, steps);
    }
    let mut passes = Passes::new(forward, sequences, wanted, first, options)?;
    passes.plan(&batches)?;
    for stage in first..stages - 1 {
        batches = passes.forward(stage, batches)?;
        progress(stage + 1, steps);
    }
    passes.end(&batches)?;
    drop(batches);

    let mut losses = Vec::new();
    let mut gradients = Vec::new();
    Saver::with(store, |saver| {
        for stage in (first..stages).rev() {
            let swept = passes.backward(stage, gradients)?;
            if stage == stages - 1 {
                losses = swept.losses;
            }
            gradients = swept.input_gradients;
            saver.save(stage, swept.squares)?;
            progress(2 * stages - 1 - stage, steps);
        }
        Ok(())
    })?;
    Ok(losses)
}
