//! What a way of attending still finds in a text that hides something.

use crate::error::{Side, TaskError};
use crate::forward_runner::values;
use crate::retrieval::Probe;
use calib::attention_policy::AttentionPolicy;
use calib::running::walk::StageWalk;
use calib::{Forward, Hidden, NoTap, StageError};
use rayon::prelude::*;
use serde::Serialize;
use std::sync::Arc;

/// The texts of one kind, length and depth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RetrievalCell {
    /// Name of the kind of text.
    pub task: &'static str,
    /// Tokens of a text.
    pub length: usize,
    /// Where the needle is, in per cent of the text.
    pub depth: usize,
    /// Texts.
    pub samples: usize,
    /// Answers of the original that are right, every token of them.
    pub original: usize,
    /// The same with this way of attending.
    pub found: usize,
}

/// Which answers come out right, every token the likeliest after the right ones before it; with exact attention where
/// there is no `policy`. `inputs` are the texts of `probes`.
///
/// # Errors
/// A stage that cannot be built or run, a policy that cannot attend to these texts.
pub fn found(
    forward: &Forward<'_>,
    policy: Option<Arc<dyn AttentionPolicy>>,
    probes: &[Probe],
    inputs: &[Hidden],
) -> Result<Vec<bool>, TaskError> {
    let failed = |source: StageError| TaskError::Stage {
        side: Side::Original,
        source,
    };
    let device = forward.device().clone();
    let mut changed = Forward::new(forward.model(), forward.source(), device);
    if let Some(policy) = policy {
        changed = changed.attending_by(policy);
    }
    let last = forward.model().stages() - 1;
    let mut walk = StageWalk::new(forward.model(), inputs.to_vec());
    for _ in 0..last {
        walk.advance(&changed).map_err(failed)?;
    }
    let states = walk.into_hidden();
    let right = changed.with_stage(last, |head| {
        let texts = probes.par_iter().zip(states);
        let right = texts.map(|(probe, states)| {
            let tokens = probe.tokens.len();
            let states = states.into_states(|| "head".to_owned()).map_err(failed)?;
            // The token before each token of the answer.
            let before = states.narrow(1, tokens - probe.answer - 1, probe.answer);
            let logits = head.forward(Hidden::States(before), &mut NoTap);
            let ([_, _, width], logits) = values(logits.map_err(failed)?, Side::Original)?;
            let answer = &probe.tokens[tokens - probe.answer..];
            let mut rows = logits.chunks_exact(width).zip(answer);
            Ok(rows.all(|(row, target)| likeliest(row) == *target as usize))
        });
        right.collect::<Result<Vec<bool>, TaskError>>()
    });
    right.map_err(failed)?
}

/// The first of the largest logits.
fn likeliest(row: &[f32]) -> usize {
    let mut best = 0;
    for (at, logit) in row.iter().enumerate() {
        if *logit > row[best] {
            best = at;
        }
    }
    best
}

/// The answers of the original and of one way of attending, by kind, length and depth.
pub fn cells(probes: &[Probe], original: &[bool], found: &[bool]) -> Vec<RetrievalCell> {
    let mut cells: Vec<RetrievalCell> = Vec::new();
    for ((probe, original), found) in probes.iter().zip(original).zip(found) {
        let place = (probe.task, probe.length, probe.depth);
        let known = cells
            .iter_mut()
            .find(|cell| (cell.task, cell.length, cell.depth) == place);
        let one = [*original, *found].map(usize::from);
        match known {
            Some(cell) => {
                cell.samples += 1;
                cell.original += one[0];
                cell.found += one[1];
            }
            None => cells.push(RetrievalCell {
                task: probe.task,
                length: probe.length,
                depth: probe.depth,
                samples: 1,
                original: one[0],
                found: one[1],
            }),
        }
    }
    cells
}
