//! The loss at the end of the road and its gradient.
//!
//! * Next-token logits: mean cross entropy over the positions that have a next token.
//! * Class logits: negative log likelihood of a label drawn from the model's own distribution, whose
//!   squared gradient is an unbiased estimate of the true Fisher and needs no labels.
//! * A number (one class logit, a regression): the number itself; its squared gradient is the Fisher of a
//!   normal distribution around it.
//! * Hidden states (encoders without a head): the inner product with random signs over the square root
//!   of their number. Its squared gradient estimates the diagonal of `J^T J / n`, the Gauss-Newton
//!   matrix of the mean squared error of the output.

use crate::hidden::values;
use crate::layers::kernels::cross_entropy::cross_entropy_gradient;
use crate::model::ModelOutput;
use crate::{StageError, Tape, Vjp};
use burn::tensor::{Tensor, TensorData, activation};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::ops::Range;

/// Logits held at once: 64 MiB of f32.
const LOGITS_AT_ONCE: usize = 16 << 20;

/// One seed per sequence, so that samples do not depend on who runs first.
pub(super) fn sequence_seed(seed: u64, index: usize) -> u64 {
    seed.wrapping_mul(0x9E37_79B9_7F4A_7C15)
        .wrapping_add(index as u64)
}

/// Loss and vector-Jacobian product of the last stage for one sequence; `record` runs it, a block where the model ends
/// without a head.
pub(super) fn last_stage(
    record: &dyn Fn(Tensor<3>) -> Result<(Tape, Tensor<3>), StageError>,
    input: Tensor<3>,
    output: ModelOutput,
    tokens: &[u32],
    seed: u64,
) -> Result<(f64, Vjp), StageError> {
    match output {
        ModelOutput::TokenLogits => next_token(record, &input, tokens),
        // A token, or a class of it, drawn at each position.
        ModelOutput::ClassLogits
        | ModelOutput::MaskedTokenLogits
        | ModelOutput::TokenClassLogits => {
            let (tape, logits) = record(input)?;
            let gradient = if logits.dims()[2] == 1 {
                random_signs(&logits, seed)
            } else {
                sampled_label(&logits, seed)
            };
            Ok((0.0, tape.back(gradient)))
        }
        ModelOutput::HiddenStates => {
            let (tape, states) = record(input)?;
            let gradient = random_signs(&states, seed);
            Ok((0.0, tape.back(gradient)))
        }
    }
}

/// The head works position by position, so it is run over slices of positions: logits of a long
/// sequence over a large vocabulary would be the largest thing in memory otherwise.
fn next_token(
    record: &dyn Fn(Tensor<3>) -> Result<(Tape, Tensor<3>), StageError>,
    input: &Tensor<3>,
    tokens: &[u32],
) -> Result<(f64, Vjp), StageError> {
    let [_, positions, width] = input.dims();
    let device = input.device();
    let scored = positions
        .saturating_sub(1)
        .min(tokens.len().saturating_sub(1));
    let (mut loss, mut gradients) = (0.0, Vec::new());
    let mut start = 0;
    // The vocabulary is known only once logits are seen: the first slice is small.
    let mut step = 16;
    while start < scored {
        let slice = start..(start + step).min(scored);
        let part = input.clone().narrow(1, slice.start, slice.len());
        let (tape, logits) = record(part)?;
        let vocabulary = logits.dims()[2];
        let (sum, gradient) = cross_entropy(logits, tokens, &slice, scored);
        loss += sum;
        gradients.push(tape.back(gradient).input_gradient);
        start = slice.end;
        step = (LOGITS_AT_ONCE / vocabulary).max(1);
    }
    if positions > scored {
        gradients.push(Tensor::zeros([1, positions - scored, width], &device));
    }
    let input_gradient = Tensor::cat(gradients, 1);
    Ok((
        loss / scored.max(1) as f64,
        Vjp {
            input_gradient,
            weight_gradients: Vec::new(),
            key_value_gradients: None,
        },
    ))
}

/// Summed cross entropy of the positions `slice` and the gradient of the mean over `scored`:
/// `(softmax - onehot) / scored`.
fn cross_entropy(
    logits: Tensor<3>,
    tokens: &[u32],
    slice: &Range<usize>,
    scored: usize,
) -> (f64, Tensor<3>) {
    let shape = logits.dims();
    let device = logits.device();
    let mut values = values(logits);
    let rows = values.chunks_exact_mut(shape[2]).zip(slice.clone());
    let losses = rows
        .map(|(row, position)| cross_entropy_gradient(row, tokens[position + 1] as usize, scored));
    let loss = losses.sum();
    (
        loss,
        Tensor::from_data(TensorData::new(values, shape), &device),
    )
}

/// `softmax - onehot` of a label drawn from the distribution itself.
fn sampled_label(logits: &Tensor<3>, seed: u64) -> Tensor<3> {
    let shape = logits.dims();
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut values = values(activation::softmax(logits.clone(), 2));
    for row in values.chunks_exact_mut(shape[2]) {
        let mut left: f64 = random.random();
        let drawn = row.iter().position(|&probability| {
            left -= f64::from(probability);
            left < 0.0
        });
        // Rounding can leave a crumb of probability: it belongs to the last class.
        row[drawn.unwrap_or(shape[2] - 1)] -= 1.0;
    }
    Tensor::from_data(TensorData::new(values, shape), &logits.device())
}

/// Random signs, scaled so that the result is a mean over the outputs.
fn random_signs(states: &Tensor<3>, seed: u64) -> Tensor<3> {
    let shape = states.dims();
    let count = shape.iter().product::<usize>();
    let scale = 1.0 / (count as f32).sqrt();
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let values: Vec<f32> = (0..count)
        .map(|_| {
            if random.random::<bool>() {
                scale
            } else {
                -scale
            }
        })
        .collect();
    Tensor::from_data(TensorData::new(values, shape), &states.device())
}
