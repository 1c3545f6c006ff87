//! Diagonal Fisher, streamed block by block.
//!
//! `F = sum over sequences of (d loss / d w)^2`, the loss of a sequence being its mean next-token
//! loss (SqueezeLLM, section 4.1). A forward pass keeps the input of every block; then, from the last
//! stage to the first, a block is rebuilt, re-run on its kept input, and its output is multiplied with
//! the gradient that came from the stage after it. Memory: one block, one tape, the kept inputs within
//! a budget (the rest in a scratch file), never a model.
//!
//! Squares accumulate in f32, sequence after sequence, so the thread count does not change a bit.

mod kept_inputs;
mod loss;
mod saver;

use crate::collect::CollectError;
use crate::layers::fused::add_squared_products;
use crate::stats_store::StatsStore;
use crate::workers::Workers;
use crate::{Forward, Hidden, LayerSpec, Tape, Vjp};
use burn::tensor::Tensor;
use kept_inputs::KeptInputs;
use rayon::prelude::*;
use saver::Saver;
use std::collections::{BTreeMap, BTreeSet};
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
    let wanted: BTreeMap<&str, usize> = model
        .layers()
        .iter()
        .filter(|layer| options.layers.contains(&layer.name))
        .map(|layer| (layer.name.as_str(), layer.stage))
        .collect();
    if let Some(layer) = model
        .layers()
        .iter()
        .find(|layer| wanted.contains_key(layer.name.as_str()) && !layer.in_block)
    {
        return Err(CollectError::Unsupported {
            statistic: KIND,
            layer: layer.name.clone(),
            reason: "gradients are tracked for the linear layers inside blocks only",
        });
    }
    let Some(first) = wanted.values().copied().min() else {
        return Ok(Vec::new());
    };
    let stages = model.stages();
    let names_of = |stage: usize| {
        wanted
            .iter()
            .filter(move |(_, at)| **at == stage)
            .map(|(n, _)| *n)
    };
    if (first..stages)
        .all(|stage| names_of(stage).next().is_none() || store.covers(KIND, stage, names_of(stage)))
    {
        return Ok(Vec::new());
    }

    let steps = 2 * stages - 1 - first;
    let mut kept = KeptInputs::new(options.memory_bytes, &options.scratch);
    let mut batches: Vec<Hidden> = sequences
        .iter()
        .map(|sequence| sequence.input.clone())
        .collect();
    for stage in 0..stages - 1 {
        if stage >= first {
            kept.keep(stage, &batches)?;
        }
        batches = forward.run(stage..stage + 1, batches)?;
        progress(stage + 1, steps);
    }
    kept.keep(stages - 1, &batches)?;
    drop(batches);

    let workers = Workers::new()?;
    let mut losses = Vec::new();
    let mut gradients = Vec::new();
    Saver::with(store, |saver| {
        for stage in (first..stages).rev() {
            let layers: Vec<&LayerSpec> = model
                .layers()
                .iter()
                .filter(|layer| wanted.get(layer.name.as_str()) == Some(&stage))
                .collect();
            let pass = backward(
                forward,
                stage,
                &layers,
                sequences,
                gradients,
                &mut kept,
                options.seed,
                &workers,
            )?;
            if stage == stages - 1 {
                losses = pass.losses;
            }
            gradients = pass.input_gradients;
            saver.save(stage, pass.squares)?;
            progress(2 * stages - 1 - stage, steps);
        }
        Ok(())
    })?;
    Ok(losses)
}

/// What one stage's backward pass leaves.
struct Pass {
    /// Loss of every sequence; meaningful for the last stage.
    losses: Vec<f64>,
    /// Gradient with respect to the stage's input, by sequence.
    input_gradients: Vec<Tensor<3>>,
    /// Sum over sequences of the squared weight gradients, by layer.
    squares: BTreeMap<String, Tensor<2>>,
}

/// Sends `gradients` (none yet for the last stage) backwards through one stage.
#[expect(clippy::too_many_arguments, reason = "the state of one loop")]
fn backward(
    forward: &Forward<'_>,
    stage: usize,
    layers: &[&LayerSpec],
    sequences: &[Sequence],
    gradients: Vec<Tensor<3>>,
    kept: &mut KeptInputs,
    seed: u64,
    workers: &Workers,
) -> Result<Pass, CollectError> {
    let model = forward.model();
    let device = forward.device().clone().autodiff();
    let built = model.build(stage, forward.source(), &device)?;
    let mut pass = Pass {
        losses: Vec::new(),
        input_gradients: Vec::new(),
        squares: BTreeMap::new(),
    };
    let mut incoming = gradients.into_iter();
    // As many sequences in flight as there are threads; they are added up in their own order.
    for start in (0..sequences.len()).step_by(workers.count()) {
        let range = start..(start + workers.count()).min(sequences.len());
        let inputs = kept.take(stage, range.clone(), forward.device())?;
        let work: Vec<_> = range
            .zip(inputs)
            .map(|(index, input)| (index, input, incoming.next()))
            .collect();
        let results = workers.map(work, |(index, input, gradient)| match gradient {
            Some(gradient) => {
                let tape = Tape::record(built.as_ref(), layers.iter().copied(), input)?;
                Ok((0.0, tape.back(gradient)))
            }
            None => loss::last_stage(
                built.as_ref(),
                input,
                model.output(),
                &sequences[index].tokens,
                loss::sequence_seed(seed, index),
            ),
        });
        let mut factors: BTreeMap<String, Vec<[Tensor<3>; 2]>> = BTreeMap::new();
        for result in results {
            let (loss, vjp): (f64, Vjp) = result?;
            pass.losses.push(loss);
            pass.input_gradients.push(vjp.input_gradient);
            for gradient in vjp.weight_gradients {
                let layer = gradient.layer.clone();
                factors.entry(layer).or_default().push(gradient.factors());
            }
        }
        add_squares(&mut pass.squares, factors);
    }
    Ok(pass)
}

/// Adds the squares of the gradients with the given factors, all layers at once.
fn add_squares(
    squares: &mut BTreeMap<String, Tensor<2>>,
    factors: BTreeMap<String, Vec<[Tensor<3>; 2]>>,
) {
    let work: Vec<_> = factors
        .into_iter()
        .map(|(layer, factors)| {
            let sum = squares.remove(&layer);
            (layer, sum, factors)
        })
        .collect();
    let added: Vec<_> = work
        .into_par_iter()
        .filter_map(|(layer, sum, factors)| Some((layer, add_squared_products(sum, factors)?)))
        .collect();
    squares.extend(added);
}
