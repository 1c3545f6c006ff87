//! KL divergence of two models whose hidden states are at hand: what enters their heads.

use crate::compare::pair;
use burn::tensor::Tensor;
use calib::hidden::values;
use calib::{Forward, Hidden, ModelOutput, NoTap, Stage, StageError};
use rayon::prelude::*;

/// Positions whose logits are compared at once: with a vocabulary of 128 Ki, 64 MiB for both models.
const POSITIONS: usize = 64;

/// Mean over the rows of logits of `sum p (log p - log q)`, nats: `p` of the head of `original` on `reference`, `q` of
/// the head of `changed` on `states`, batch by batch. NaN where a logit is not finite or there are no rows.
///
/// # Errors
/// A head that cannot be built or run.
pub fn mean_divergence(
    original: &Forward<'_>,
    changed: &Forward<'_>,
    reference: &[Hidden],
    states: &[Hidden],
) -> Result<f64, StageError> {
    let last = original.model().stages() - 1;
    let sliced = original.model().output() == ModelOutput::TokenLogits;
    let sums = original.with_stage(last, |original| {
        changed.with_stage(last, |changed| {
            let batches = reference.par_iter().zip(states);
            batches
                .map(|(reference, states)| of_batch(original, changed, reference, states, sliced))
                .collect::<Result<Vec<_>, _>>()
        })
    })???;
    let add = |(sum, rows), (of_batch, count)| (sum + of_batch, rows + count);
    let (sum, rows) = sums.into_iter().fold((0.0, 0_u32), add);
    Ok(sum / f64::from(rows))
}

/// Sum of the divergences of the rows of one batch, and their number.
fn of_batch(
    original: &dyn Stage,
    changed: &dyn Stage,
    reference: &Hidden,
    states: &Hidden,
    sliced: bool,
) -> Result<(f64, u32), StageError> {
    let head = || "head".to_owned();
    let reference = reference.clone().into_states(head)?;
    let states = states.clone().into_states(head)?;
    let positions = reference.dims()[1];
    let step = if sliced { POSITIONS } else { positions.max(1) };
    let (mut sum, mut count) = (0.0, 0);
    for start in (0..positions).step_by(step) {
        let length = step.min(positions - start);
        let part = |states: &Tensor<3>| Hidden::States(states.clone().narrow(1, start, length));
        let exact = original.forward(part(&reference), &mut NoTap)?;
        let exact = exact.into_states(head)?;
        let rounded = changed.forward(part(&states), &mut NoTap)?;
        let width = exact.dims()[2].max(1);
        let (exact, rounded) = (values(exact), values(rounded.into_states(head)?));
        for (exact, rounded) in exact.chunks_exact(width).zip(rounded.chunks_exact(width)) {
            sum += pair(exact, rounded, 0).map_or(f64::NAN, |row| row.divergence);
            count += 1;
        }
    }
    Ok((sum, count))
}
