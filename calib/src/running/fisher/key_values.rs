//! Loss gradients of keys and values, block by block from the last.
//!
//! Tables of a cache weigh the error of each key and value with its squared gradient (`KVQuant`, section 3.4). Those of all
//! blocks would be as large as the cache itself, so whoever fits a table does it while the backward pass is at its block.

use super::kept_inputs::KeptInputs;
use super::{Sequence, loss};
use crate::heap::give_back_freed_memory;
use crate::running::error::CollectError;
use crate::running::walk::StageWalk;
use crate::running::workers::Workers;
use crate::{Forward, StageError, Tape, Vjp};
use burn::tensor::Tensor;
use std::path::PathBuf;

/// How to walk backward to keys and values.
#[derive(Debug, Clone)]
pub struct KeyValueOptions {
    /// Seed of the output samples of models without next-token loss.
    pub seed: u64,
    /// Bytes of block inputs kept in memory; the rest goes to a scratch file.
    pub memory_bytes: u64,
    /// Folder of the scratch file.
    pub scratch: PathBuf,
}

/// One sequence in one block with self-attention.
pub struct AttentionGradients {
    /// What the block was given, `[batch, tokens, width]`.
    pub input: Tensor<3>,
    /// Loss gradient of keys before the rotary embedding, `[batch, kv_heads, tokens, head_dim]`.
    pub key: Tensor<4>,
    /// Loss gradient of values, `[batch, kv_heads, tokens, value_dim]`.
    pub value: Tensor<4>,
}

/// Walks the sequences forward to the loss and back, and hands every sequence of each stage with self-attention to
/// `on_stage`, last stage first. `progress` is told `(stages done, stages)`, both ways counted.
///
/// # Errors
/// Those of `on_stage`; a stage fails; the scratch file cannot be written.
pub fn walk_key_values<E: From<CollectError>>(
    forward: &Forward<'_>,
    sequences: &[Sequence],
    options: &KeyValueOptions,
    on_stage: &mut dyn FnMut(usize, Vec<AttentionGradients>) -> Result<(), E>,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<(), E> {
    let stages = forward.model().stages();
    let steps = 2 * stages - 2;
    let workers = Workers::new().map_err(CollectError::from)?;
    let mut kept = KeptInputs::new(options.memory_bytes, &options.scratch);
    let batches = sequences.iter().map(|sequence| sequence.input.clone());
    let mut walk = StageWalk::new(forward.model(), batches.collect());
    for stage in 0..stages - 1 {
        // Tokens and pixels have no gradient.
        if stage > 0 {
            kept.keep(stage, walk.hidden())?;
        }
        walk.advance(forward).map_err(CollectError::from)?;
        progress(stage + 1, steps);
    }
    kept.keep(stages - 1, walk.hidden())?;
    drop(walk);
    let device = forward.device();
    let mut gradients: Vec<Tensor<3>> = Vec::new();
    for stage in (1..stages).rev() {
        let model = forward.model();
        let built = model.build(stage, forward.source(), &device.clone().autodiff());
        let built = built.map_err(CollectError::from)?;
        let (mut incoming, mut outgoing) = (gradients.into_iter(), Vec::new());
        let mut attention = Vec::new();
        // As many sequences in flight as there are threads.
        for start in (0..sequences.len()).step_by(workers.count()) {
            let range = start..(start + workers.count()).min(sequences.len());
            let inputs = kept.take(stage, range.clone(), device);
            let inputs = inputs.map_err(CollectError::from)?;
            let work = range.zip(inputs).map(|(index, input)| {
                let gradient = incoming.next();
                (index, input, gradient)
            });
            let results = workers.map(work.collect(), |(index, input, gradient)| {
                let given = input.clone();
                let record = |input| Tape::record_key_value(built.as_ref(), input);
                let vjp: Result<Vjp, StageError> = match gradient {
                    Some(gradient) => record(input).map(|(tape, _)| tape.back(gradient)),
                    None => loss::last_stage(
                        &record,
                        input,
                        model.output(),
                        &sequences[index].tokens,
                        loss::sequence_seed(options.seed, index),
                    )
                    .map(|(_, vjp)| vjp),
                };
                vjp.map(|vjp| (given, vjp))
            });
            for result in results {
                let (input, vjp) = result.map_err(CollectError::from)?;
                outgoing.push(vjp.input_gradient);
                if let Some([key, value]) = vjp.key_value_gradients {
                    attention.push(AttentionGradients { input, key, value });
                }
            }
        }
        drop(built);
        gradients = outgoing;
        if stage == stages - 1 {
            // Logits are like nothing that follows.
            give_back_freed_memory();
        }
        if !attention.is_empty() {
            on_stage(stage, attention)?;
        }
        progress(steps + 1 - stage, steps);
    }
    Ok(())
}
