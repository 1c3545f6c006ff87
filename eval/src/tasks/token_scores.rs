//! Losses of one or two models on single tokens of sequences: the next ones, or masked ones.
//!
//! One pass: the hidden states of a group of sequences go through all blocks of each model; then, chunk
//! of positions by chunk, through both heads, and every row of logits is reduced at once to a loss, a
//! divergence and an agreement. Logits never exceed [`LOGIT_BYTES`] per thread.

use crate::compare;
use crate::error::{Side, TaskError};
use crate::forward_runner::{groups, states_of, values};
use crate::runner::{Progress, Runner};
use crate::subject::Subject;
use burn::tensor::Tensor;
use calib::inputs::Inputs;
use calib::{Forward, Hidden, NoTap, Stage};
use rayon::prelude::*;

/// Logits one thread holds at a time, both models together.
pub const LOGIT_BYTES: usize = 64 << 20;
/// Vocabulary assumed where the model does not tell.
const VOCABULARY: usize = 1 << 17;

/// What is run through the models, and what is scored of it.
pub(super) struct ScoredSequences<'a> {
    /// Token ids of each sequence.
    pub(super) ids: &'a [Vec<u32>],
    /// What is scored of each, by its index.
    pub(super) targets: &'a (dyn Fn(usize) -> Targets + Sync),
}

/// What is scored of one sequence.
pub(super) struct Targets {
    /// Positions whose logits are scored.
    pub(super) positions: Vec<usize>,
    /// The token each of them should predict.
    pub(super) tokens: Vec<u32>,
}

/// Sums over the scored tokens of one sequence.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Tally {
    /// Scored.
    pub tokens: f64,
    /// Summed, nats.
    pub original_loss: f64,
    /// Summed, nats.
    pub quantized_loss: f64,
    /// Tokens that are the model's first choice.
    pub original_right: f64,
    /// The same of the quantized model.
    pub quantized_right: f64,
    /// Tokens where both models prefer the same.
    pub agreeing: f64,
    /// Per token, nats.
    pub divergences: Vec<f64>,
}

/// Scores one sequence of a group, by its index there, from the heads of all models.
type Scorer<'a> = dyn Fn(usize, &[Head<'_>]) -> Result<Tally, TaskError> + Sync + 'a;

/// One or two models that can be run side by side.
trait Judged: Sync {
    /// How many they are.
    fn models(&self) -> usize;
    /// Runs the stages before the head over one group, then lends each model's head and states to
    /// `score`, sequence by sequence.
    /// `stage_done` hears of every batch that has passed one more stage.
    fn group(
        &self,
        batches: Vec<Hidden>,
        score: &Scorer<'_>,
        stage_done: &dyn Fn(usize),
    ) -> Result<Vec<Tally>, TaskError>;
}

/// A head and what enters it for one sequence, `[1, tokens, width]`.
struct Head<'a> {
    stage: &'a dyn Stage,
    states: Tensor<3>,
    side: Side,
}

struct One<'a> {
    forward: &'a Forward<'a>,
    side: Side,
}

struct Two<'a> {
    original: &'a Forward<'a>,
    quantized: &'a Forward<'a>,
}

impl Judged for One<'_> {
    fn models(&self) -> usize {
        1
    }

    fn group(
        &self,
        batches: Vec<Hidden>,
        score: &Scorer<'_>,
        stage_done: &dyn Fn(usize),
    ) -> Result<Vec<Tally>, TaskError> {
        let side = self.side;
        let states = before_head(self.forward, side, batches, stage_done)?;
        with_head(self.forward, side, |stage| {
            let each = states.into_par_iter().enumerate();
            each.map(|(at, states)| {
                score(
                    at,
                    &[Head {
                        stage,
                        states,
                        side,
                    }],
                )
            })
            .collect::<Vec<_>>()
            .into_iter()
            .collect()
        })?
    }
}

impl Judged for Two<'_> {
    fn models(&self) -> usize {
        2
    }

    fn group(
        &self,
        batches: Vec<Hidden>,
        score: &Scorer<'_>,
        stage_done: &dyn Fn(usize),
    ) -> Result<Vec<Tally>, TaskError> {
        let (original, quantized) = (Side::Original, Side::Quantized);
        let o_states = before_head(self.original, original, batches.clone(), stage_done)?;
        let q_states = before_head(self.quantized, quantized, batches, stage_done)?;
        with_head(self.original, original, |o_stage| {
            with_head(self.quantized, quantized, |q_stage| {
                let each = o_states.into_par_iter().zip(q_states).enumerate();
                each.map(|(at, (o, q))| {
                    let o = Head {
                        stage: o_stage,
                        states: o,
                        side: original,
                    };
                    let q = Head {
                        stage: q_stage,
                        states: q,
                        side: quantized,
                    };
                    score(at, &[o, q])
                })
                .collect::<Vec<_>>()
                // The first sequence that fails is the one that is named, whichever ends first.
                .into_iter()
                .collect()
            })?
        })?
    }
}

fn before_head(
    forward: &Forward<'_>,
    side: Side,
    mut batches: Vec<Hidden>,
    stage_done: &dyn Fn(usize),
) -> Result<Vec<Tensor<3>>, TaskError> {
    for stage in 0..forward.model().stages() - 1 {
        let states = forward.run(stage..stage + 1, batches);
        batches = states.map_err(|source| TaskError::Stage { side, source })?;
        stage_done(batches.len());
    }
    batches
        .into_iter()
        .map(|states| states_of(states, side))
        .collect()
}

fn with_head<R>(
    forward: &Forward<'_>,
    side: Side,
    body: impl FnOnce(&dyn Stage) -> R,
) -> Result<R, TaskError> {
    let last = forward.model().stages() - 1;
    forward
        .with_stage(last, body)
        .map_err(|source| TaskError::Stage { side, source })
}

/// Scores every sequence with the models of `subject`, in order.
pub(super) fn tallies(
    task: &'static str,
    subject: &Subject<'_>,
    sequences: &ScoredSequences<'_>,
    progress: &dyn Progress,
) -> Result<Vec<Tally>, TaskError> {
    let original = stages(task, subject.original.as_deref(), Side::Original)?;
    let quantized = stages(task, subject.quantized.as_deref(), Side::Quantized)?;
    match (original, quantized) {
        (Some(original), Some(quantized)) => run(
            &Two {
                original,
                quantized,
            },
            original,
            sequences,
            progress,
        ),
        (Some(forward), None) => run(
            &One {
                forward,
                side: Side::Original,
            },
            forward,
            sequences,
            progress,
        ),
        (None, Some(forward)) => run(
            &One {
                forward,
                side: Side::Quantized,
            },
            forward,
            sequences,
            progress,
        ),
        (None, None) => Err(TaskError::NoModel),
    }
}

/// The float stages of a model, which this task runs one by one.
fn stages<'a>(
    task: &'static str,
    runner: Option<&'a dyn Runner>,
    side: Side,
) -> Result<Option<&'a Forward<'a>>, TaskError> {
    let Some(runner) = runner else {
        return Ok(None);
    };
    let stages = runner.stages();
    stages.map(Some).ok_or(TaskError::NoStages { side, task })
}

fn run(
    judged: &dyn Judged,
    any: &Forward<'_>,
    sequences: &ScoredSequences<'_>,
    progress: &dyn Progress,
) -> Result<Vec<Tally>, TaskError> {
    let lengths: Vec<usize> = sequences.ids.iter().map(Vec::len).collect();
    let inputs = Inputs::Tokens(sequences.ids.to_vec());
    let vocabulary = any.model().vocabulary().unwrap_or(VOCABULARY).max(1);
    let chunk = (LOGIT_BYTES / (4 * vocabulary * judged.models())).max(1);
    let blocks = (any.model().stages() - 1) * judged.models();
    progress.begin_pass((lengths.len() * blocks) as u64, "blocks");
    progress.begin(lengths.len() as u64, "sequences");
    let mut tallies = Vec::with_capacity(lengths.len());
    for group in groups(&lengths, any.model()) {
        let start = group.start;
        let batches = group.map(|at| inputs.batch(&[at], any.device())).collect();
        let scorer = |at: usize, heads: &[Head<'_>]| {
            let at = start + at;
            let tally = score(heads, chunk, &(sequences.targets)(at), at);
            progress.advance(1);
            tally
        };
        let stage_done = |count| progress.advance_pass(count as u64);
        tallies.extend(judged.group(batches, &scorer, &stage_done)?);
    }
    Ok(tallies)
}

/// Scores `targets` of the sequence `at`, `chunk` positions at a time.
fn score(
    heads: &[Head<'_>],
    chunk: usize,
    targets: &Targets,
    at: usize,
) -> Result<Tally, TaskError> {
    let mut tally = Tally::default();
    let parts = targets.positions.chunks(chunk);
    for (positions, tokens) in parts.zip(targets.tokens.chunks(chunk)) {
        let mut rows = Vec::with_capacity(heads.len());
        for head in heads {
            let states = at_positions(&head.states, positions);
            let logits = head.stage.forward(Hidden::States(states), &mut NoTap);
            let logits = logits.map_err(|source| TaskError::Stage {
                side: head.side,
                source,
            })?;
            let ([_, _, vocabulary], logits) = values(logits, head.side)?;
            rows.push((vocabulary.max(1), logits));
        }
        add(&mut tally, &rows, tokens, heads, |row| {
            format!("sequence {}, position {}", at + 1, positions[row] + 1)
        })?;
    }
    Ok(tally)
}

/// The states `[1, tokens, width]` at `positions`, which ascend.
fn at_positions(states: &Tensor<3>, positions: &[usize]) -> Tensor<3> {
    let (first, last) = (positions[0], positions[positions.len() - 1]);
    if last - first + 1 == positions.len() {
        return states.clone().narrow(1, first, positions.len());
    }
    let parts = positions.iter().map(|&at| states.clone().narrow(1, at, 1));
    Tensor::cat(parts.collect(), 1)
}

/// Adds the rows of logits of one or two models, `(vocabulary, [positions, vocabulary])`.
fn add(
    tally: &mut Tally,
    rows: &[(usize, Vec<f32>)],
    targets: &[u32],
    heads: &[Head<'_>],
    place: impl Fn(usize) -> String,
) -> Result<(), TaskError> {
    let not_finite = |side, row| TaskError::NotFinite {
        side,
        place: place(row),
    };
    let vocabulary = rows[0].0;
    let outside = |side| TaskError::Values {
        side,
        found: "a token outside the logits".to_owned(),
    };
    let each = rows[0].1.chunks_exact(vocabulary).zip(targets).enumerate();
    for (row, (first, &target)) in each {
        let target = target as usize;
        if target >= vocabulary {
            return Err(outside(heads[0].side));
        }
        tally.tokens += 1.0;
        if let [_, (second_vocabulary, second)] = rows {
            if *second_vocabulary != vocabulary {
                let quantized = *second_vocabulary;
                return Err(TaskError::Shapes {
                    original: vocabulary,
                    quantized,
                });
            }
            let second = &second[row * vocabulary..][..vocabulary];
            let pair = compare::pair(first, second, target).ok_or_else(|| {
                let original_is_fine = first.iter().all(|logit| logit.is_finite());
                not_finite(heads[usize::from(original_is_fine)].side, row)
            })?;
            tally.original_loss += pair.original_loss;
            tally.quantized_loss += pair.quantized_loss;
            let right = |top: usize| f64::from(u8::from(top == target));
            tally.original_right += right(pair.original_top);
            tally.quantized_right += right(pair.quantized_top);
            tally.agreeing += f64::from(u8::from(pair.agree));
            tally.divergences.push(pair.divergence);
        } else {
            let side = heads[0].side;
            let found = compare::row(first, target).ok_or_else(|| not_finite(side, row))?;
            let right = f64::from(u8::from(found.top == target));
            let (loss, rights) = match side {
                Side::Original => (&mut tally.original_loss, &mut tally.original_right),
                Side::Quantized => (&mut tally.quantized_loss, &mut tally.quantized_right),
            };
            *loss += found.loss;
            *rights += right;
        }
    }
    Ok(())
}
