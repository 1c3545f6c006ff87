//! Float stages as a model of an evaluation: many inputs in bounded memory.

use crate::error::{Side, TaskError};
use crate::runner::{Progress, Runner, Wanted};
use burn::tensor::Tensor;
use calib::inputs::Inputs;
use calib::{Forward, Hidden, Model};
use rayon::prelude::*;
use std::ops::Range;

/// Hidden states of one group of batches, per model.
pub const HIDDEN_BYTES: usize = 256 << 20;
/// Sentences of equal length run together.
const SENTENCES: usize = 16;
/// Images run together.
const IMAGES: usize = 8;
/// Images of one group: how many tokens an image becomes is known to the model only.
const IMAGE_GROUP: usize = 256;

impl Runner for Forward<'_> {
    fn model(&self) -> &dyn Model {
        Forward::model(self)
    }

    fn stages(&self) -> Option<&Forward<'_>> {
        Some(self)
    }

    fn rows(
        &self,
        side: Side,
        inputs: &Inputs,
        wanted: Wanted,
        progress: &dyn Progress,
    ) -> Result<Vec<Vec<f32>>, TaskError> {
        outputs(self, side, inputs, progress, |states, shape| match wanted {
            Wanted::ClassLogits => states.to_vec(),
            Wanted::Embedding(pooling) => pooling.embedding(states, shape),
        })
    }
}

/// Cuts batches, given by their tokens, into groups whose hidden states fit in memory.
///
/// The cut depends on the model and the data alone, never on the machine.
pub(crate) fn groups(tokens: &[usize], model: &dyn Model) -> Vec<Range<usize>> {
    let width = model
        .layers()
        .iter()
        .find(|layer| layer.in_block)
        .map_or(1024, |layer| layer.cols);
    let limit = HIDDEN_BYTES / (4 * width.max(1));
    let mut groups = Vec::new();
    let (mut start, mut held) = (0, 0);
    for (at, &tokens) in tokens.iter().enumerate() {
        if at > start && held + tokens > limit {
            groups.push(start..at);
            (start, held) = (at, 0);
        }
        held += tokens;
    }
    if start < tokens.len() {
        groups.push(start..tokens.len());
    }
    groups
}

/// Runs all stages over `inputs` and reduces the output of each, in the order of `inputs`.
///
/// Inputs of equal length run together; `reduce` gets one output `[tokens, width]`, row-major.
fn outputs<T: Send>(
    forward: &Forward<'_>,
    side: Side,
    inputs: &Inputs,
    progress: &dyn Progress,
    reduce: impl Fn(&[f32], [usize; 2]) -> T + Sync,
) -> Result<Vec<T>, TaskError> {
    let lengths = inputs.lengths();
    let (batches, groups) = match inputs {
        Inputs::Tokens(_) => {
            let batches = calib::sampling::equal_length_batches(&lengths, SENTENCES);
            let tokens: Vec<usize> = batches
                .iter()
                .map(|batch| batch.iter().map(|&at| lengths[at]).sum())
                .collect();
            let groups = groups(&tokens, forward.model());
            (batches, groups)
        }
        Inputs::Pixels { .. } => {
            let batches = calib::sampling::equal_length_batches(&lengths, IMAGES);
            let each = IMAGE_GROUP / IMAGES;
            let starts = (0..batches.len()).step_by(each);
            let groups = starts
                .map(|at| at..(at + each).min(batches.len()))
                .collect();
            (batches, groups)
        }
    };
    let mut reduced: Vec<Option<T>> = lengths.iter().map(|_| None).collect();
    for group in groups {
        let batches = &batches[group];
        let hidden = batches
            .iter()
            .map(|batch| inputs.batch(batch, forward.device()))
            .collect();
        // Work done so far, as a number of inputs: an input is done when it has passed all stages.
        let stages = forward.model().stages();
        let inputs: usize = batches.iter().map(Vec::len).sum();
        let mut states: Vec<Hidden> = hidden;
        for stage in 0..stages {
            states = forward
                .run(stage..stage + 1, states)
                .map_err(|source| TaskError::Stage { side, source })?;
            let passed = |stage: usize| inputs * stage / stages;
            progress.advance((passed(stage + 1) - passed(stage)) as u64);
        }
        let rows = states
            .into_par_iter()
            .map(|states| {
                let ([_, tokens, width], values) = values(states, side)?;
                let size = (tokens * width).max(1);
                Ok(values
                    .chunks_exact(size)
                    .map(|row| reduce(row, [tokens, width]))
                    .collect::<Vec<T>>())
            })
            .collect::<Result<Vec<_>, TaskError>>()?;
        for (batch, rows) in batches.iter().zip(rows) {
            for (&at, row) in batch.iter().zip(rows) {
                reduced[at] = Some(row);
            }
        }
    }
    let missing = || TaskError::Values {
        side,
        found: "fewer rows than inputs".to_owned(),
    };
    reduced
        .into_iter()
        .map(|row| row.ok_or_else(missing))
        .collect()
}

/// Shape and values of `states`, `[batch, tokens, width]`, row-major.
pub(crate) fn values(states: Hidden, side: Side) -> Result<([usize; 3], Vec<f32>), TaskError> {
    let states: Tensor<3> = states_of(states, side)?;
    let shape = states.dims();
    let values = states.into_data().convert::<f32>().try_into_vec::<f32>();
    let values = values.map_err(|error| TaskError::Values {
        side,
        found: format!("{error:?}"),
    })?;
    Ok((shape, values))
}

/// The hidden states of a stage's output.
pub(crate) fn states_of(hidden: Hidden, side: Side) -> Result<Tensor<3>, TaskError> {
    let other = |found: &str| {
        Err(TaskError::Values {
            side,
            found: format!("expected states, found {found}"),
        })
    };
    match hidden {
        Hidden::States(states) => Ok(states),
        Hidden::Tokens(_) => other("tokens"),
        Hidden::Pixels(_) => other("pixels"),
        Hidden::Embedding(_) => other("an embedding"),
    }
}
