//! Fitting caches whose tables weigh errors by gradients of the loss, while the backward pass is at their block.

use super::candidate::{BlockPlan, BlockShape};
use super::fit::{Codecs, failed, refused};
use super::recorder::Recorder;
use super::samples::Samples;
use crate::error::TaskError;
use calib::running::fisher::{AttentionGradients, KeyValueOptions, Sequence, walk_key_values};
use calib::{Forward, Hidden, NoTap};
use quantizers::caches::CacheQuantizer;
use quantizers::graph::StageNode;
use std::sync::Arc;

/// A cache that is to be fitted to every block.
#[derive(Clone, Copy)]
pub struct Fitting<'a> {
    /// The method.
    pub quantizer: &'a dyn CacheQuantizer,
    /// What it does in each block.
    pub plans: &'a [BlockPlan],
}

impl Fitting<'_> {
    /// Whether it weighs errors by gradients.
    pub fn wants_gradients(&self) -> bool {
        self.plans.iter().any(BlockPlan::wants_gradients)
    }
}

/// The codecs of each of `fittings` in all blocks, in order; nothing for blocks that stay as they are. Keys, values and
/// their gradients exist for one block at a time. `progress` is told `(stages done, stages)`.
///
/// # Errors
/// A stage that cannot be built or run, keys and values a method cannot be fitted to, a full disk.
pub fn fit_backward(
    forward: &Forward<'_>,
    shapes: &[BlockShape],
    fittings: &[Fitting<'_>],
    sequences: &[Sequence],
    options: &KeyValueOptions,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Vec<Codecs>, TaskError> {
    let none = || (0..shapes.len()).map(|_| None).collect();
    let mut codecs: Vec<Codecs> = fittings.iter().map(|_| none()).collect();
    let stages = &forward.model().graph().stages;
    let mut on_stage =
        |stage: usize, sequences: Vec<AttentionGradients>| -> Result<(), TaskError> {
            let Some(StageNode::Block(node)) = stages.get(stage) else {
                return Ok(());
            };
            let shape = &shapes[node.index];
            let built = forward
                .model()
                .build(stage, forward.source(), forward.device());
            let mut built = built.map_err(failed)?;
            let recorder = Arc::new(Recorder::default());
            built.attend_by(recorder.clone());
            let mut seen = Vec::with_capacity(sequences.len());
            for AttentionGradients { input, key, value } in sequences {
                let states = Hidden::States(input);
                built.forward(states, &mut NoTap).map_err(failed)?;
                seen.extend(recorder.take().map(|attending| (attending, [key, value])));
            }
            for (fitting, codecs) in fittings.iter().zip(&mut codecs) {
                let BlockPlan::Cache(plan) = &fitting.plans[node.index] else {
                    continue;
                };
                let mut samples = Samples::default();
                for (attending, gradients) in &seen {
                    samples.add_with_gradients(plan.hook, attending, gradients);
                }
                let codec = samples.lend(|samples| fitting.quantizer.fit(shape.cache, samples));
                codecs[node.index] = Some(codec.map_err(|error| refused(shape, error))?);
            }
            Ok(())
        };
    walk_key_values(forward, sequences, options, &mut on_stage, progress)?;
    Ok(codecs)
}
