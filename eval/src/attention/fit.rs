//! Fitting a cache to every block of a model.

use super::candidate::{BlockPlan, BlockShape};
use super::recorder::Recorder;
use super::samples::Samples;
use crate::error::{Side, TaskError};
use calib::attention_policy::{AttentionPolicy, ByBlock};
use calib::cache_policy::{CachePolicy, Protocol};
use calib::policy_error::PolicyError;
use calib::{Forward, Hidden, NoTap, StageError};
use quantizers::caches::{CacheCodec, CacheError, CacheQuantizer, CacheSamples};
use std::sync::Arc;

/// The codecs of all blocks, in order; nothing for blocks that stay as they are.
pub type Codecs = Vec<Option<Box<dyn CacheCodec>>>;

/// The codecs of all blocks without gradients of the loss. `batches` are the calibration data at the
/// first stage, empty where no block needs any; `passed` is called after each stage that was run.
///
/// # Errors
/// A stage that cannot be built or run, keys and values the method cannot be fitted to.
pub fn fit(
    forward: &Forward<'_>,
    quantizer: &dyn CacheQuantizer,
    (shapes, plans): (&[BlockShape], &[BlockPlan]),
    mut batches: Vec<Hidden>,
    passed: &dyn Fn(),
) -> Result<Codecs, TaskError> {
    let mut codecs = Vec::with_capacity(shapes.len());
    let fit_one = |index: usize, samples: &CacheSamples<'_>| {
        let fitted = quantizer.fit(shapes[index].cache, samples);
        fitted
            .map(Some)
            .map_err(|error| refused(&shapes[index], error))
    };
    if batches.is_empty() {
        for (index, plan) in plans.iter().enumerate() {
            codecs.push(match plan {
                BlockPlan::Cache(_) => fit_one(index, &CacheSamples::default())?,
                BlockPlan::Kept | BlockPlan::Attention { .. } => None,
            });
        }
        return Ok(codecs);
    }
    for stage in 0..forward.model().stages() - 1 {
        if codecs.len() == plans.len() {
            break;
        }
        let built = forward
            .model()
            .build(stage, forward.source(), forward.device());
        let mut built = built.map_err(failed)?;
        let recorder = Arc::new(Recorder::default());
        built.attend_by(recorder.clone());
        let hook = match &plans[codecs.len()] {
            BlockPlan::Cache(plan) => Some(plan.hook),
            BlockPlan::Kept | BlockPlan::Attention { .. } => None,
        };
        let (mut samples, mut attends) = (Samples::default(), false);
        for hidden in &mut batches {
            *hidden = built.forward(hidden.clone(), &mut NoTap).map_err(failed)?;
            if let Some(seen) = recorder.take() {
                attends = true;
                if let Some(hook) = hook {
                    samples.add(hook, &seen);
                }
            }
        }
        if attends {
            let index = codecs.len();
            codecs.push(match hook {
                Some(_) => samples.lend(|samples| fit_one(index, samples))?,
                None => None,
            });
        }
        passed();
    }
    Ok(codecs)
}

/// Attention over what `codecs` keep.
pub fn policy(codecs: Codecs, plans: &[BlockPlan], protocol: Protocol) -> ByBlock {
    let blocks = codecs.into_iter().zip(plans);
    let blocks = blocks.map(|(codec, plan)| match (codec, plan) {
        (Some(codec), BlockPlan::Cache(plan)) => {
            let policy: Arc<dyn AttentionPolicy> = Arc::new(CachePolicy {
                codec: codec.into(),
                plan: plan.clone(),
                protocol,
            });
            Some(policy)
        }
        _ => None,
    });
    ByBlock(blocks.collect())
}

/// A method that cannot be fitted to a block.
pub(super) fn refused(shape: &BlockShape, error: CacheError) -> TaskError {
    failed(StageError::Policy(PolicyError {
        block: shape.cache.layer,
        source: error.into(),
    }))
}

pub(super) fn failed(source: StageError) -> TaskError {
    TaskError::Stage {
        side: Side::Original,
        source,
    }
}
