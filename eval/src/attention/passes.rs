//! Moving windows through one stage.

use super::recorder::Recorder;
use crate::error::{Side, TaskError};
use calib::attention_policy::Attending;
use calib::policy_error::PolicyError;
use calib::{Forward, Hidden, NoTap, Stage, StageError};
use rayon::prelude::*;

/// Stage `stage` with its weights.
pub(super) fn built(forward: &Forward<'_>, stage: usize) -> Result<Box<dyn Stage>, TaskError> {
    let built = forward
        .model()
        .build(stage, forward.source(), forward.device());
    built.map_err(failed)
}

fn failed(source: StageError) -> TaskError {
    TaskError::Stage {
        side: Side::Original,
        source,
    }
}

/// A method that cannot be used in `block`.
pub(super) fn refused(
    block: usize,
    source: impl std::error::Error + Send + Sync + 'static,
) -> TaskError {
    failed(StageError::Policy(PolicyError {
        block,
        source: source.into(),
    }))
}

/// Moves `hidden` past `stage`, window by window, and returns what its attention met; nothing where it has none.
pub(super) fn recorded(
    stage: &dyn Stage,
    recorder: &Recorder,
    hidden: &mut [Hidden],
) -> Result<Vec<Attending>, TaskError> {
    let mut seen = Vec::new();
    for hidden in hidden {
        *hidden = stage.forward(hidden.clone(), &mut NoTap).map_err(failed)?;
        seen.extend(recorder.take());
    }
    Ok(seen)
}

/// Moves `hidden` past `stage`, several windows at once.
pub(super) fn advance(stage: &dyn Stage, hidden: &mut [Hidden]) -> Result<(), TaskError> {
    hidden.par_iter_mut().try_for_each(|hidden| {
        *hidden = stage.forward(hidden.clone(), &mut NoTap).map_err(failed)?;
        Ok(())
    })
}
