//! One walk through a model that tries every way of keeping keys and values, block by block.

use super::candidate::{BlockPlan, BlockShape, Candidate, Way};
use super::next_token::{TokenCost, token_cost};
use super::recorder::Recorder;
use super::rows::{BlockCost, BlockSums, QUERIES, TOP_KEYS};
use super::samples::Samples;
use super::size::CacheSize;
use crate::error::{Side, TaskError};
use crate::runner::Progress;
use calib::attention_policy::{Attending, AttentionPolicy};
use calib::cache_policy::{CachePolicy, Protocol};
use calib::policy_error::PolicyError;
use calib::sparse_policy::{SparsePolicy, Work};
use calib::{Forward, Hidden, NoTap, Stage, StageError};
use rayon::prelude::*;
use serde::Serialize;
use std::sync::Arc;

/// Windows of text, each a batch of its own.
pub struct Windows {
    /// What methods are fitted on.
    pub fitting: Vec<Hidden>,
    /// What they are judged on.
    pub judged: Vec<Hidden>,
    /// The tokens of those.
    pub ids: Vec<Vec<u32>>,
}

/// What one way of keeping keys and values, or of attending to them, costs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// Name of the method.
    pub method: &'static str,
    /// With its parameters.
    pub label: String,
    /// The flag of an engine that does the same.
    pub engines: Option<&'static str>,
    /// Bytes of the cache; absent where keys and values stay as they are.
    pub size: Option<CacheSize>,
    /// Products of queries and keys over those of exact attention; absent where all are made.
    pub score_share: Option<f64>,
    /// Most keys held at once for one key-value head.
    pub kept_keys: Option<usize>,
    /// Every token quantized, the worst case; of a method that attends, what it does in use.
    pub strict: TokenCost,
    /// The newest tokens exact, as in use; absent where that is the same.
    pub runtime: Option<TokenCost>,
    /// By block; those that stay as they are left out.
    pub blocks: Vec<BlockCost>,
    /// What the method has to say.
    pub notes: Vec<String>,
}

/// A candidate on its way through the model.
struct Run<'a> {
    candidate: &'a Candidate,
    plans: Vec<BlockPlan>,
    strict: Vec<Hidden>,
    /// Only where it differs.
    runtime: Option<Vec<Hidden>>,
    blocks: Vec<BlockCost>,
    work: Work,
}

/// Measures candidates on `windows`, each with its plans by block ([`Candidate::plans`]).
///
/// # Errors
/// A stage that cannot be built or run, keys or values a method cannot hold.
pub fn measure(
    forward: &Forward<'_>,
    windows: Windows,
    shapes: &[BlockShape],
    candidates: Vec<(&Candidate, Vec<BlockPlan>)>,
    seed: u64,
    progress: &dyn Progress,
) -> Result<Vec<Outcome>, TaskError> {
    let last = forward.model().stages() - 1;
    let Windows {
        mut fitting,
        mut judged,
        ids,
    } = windows;
    let mut runs: Vec<Run<'_>> = candidates
        .into_iter()
        .map(|(candidate, plans)| Run::new(candidate, plans, &judged))
        .collect();
    progress.begin((last + 1) as u64, "stages");
    let mut shapes_left = shapes.iter();
    for stage in 0..last {
        let mut built = built(forward, stage)?;
        let recorder = Arc::new(Recorder::default());
        built.attend_by(recorder.clone());
        let of_fitting = recorded(built.as_ref(), &recorder, &mut fitting)?;
        let of_judged = recorded(built.as_ref(), &recorder, &mut judged)?;
        let shape = if of_judged.is_empty() {
            None
        } else {
            shapes_left.next()
        };
        for run in &mut runs {
            match shape {
                Some(shape) => run.block(built.as_mut(), shape, &of_fitting, &of_judged)?,
                None => run.advance(built.as_ref())?,
            }
        }
        progress.advance(1);
    }
    let head = built(forward, last)?;
    let outcomes = runs
        .into_iter()
        .map(|run| run.finish(shapes, head.as_ref(), &ids, &judged, seed))
        .collect();
    progress.advance(1);
    outcomes
}

fn built(forward: &Forward<'_>, stage: usize) -> Result<Box<dyn Stage>, TaskError> {
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

fn refused(block: usize, source: impl std::error::Error + Send + Sync + 'static) -> TaskError {
    failed(StageError::Policy(PolicyError {
        block,
        source: source.into(),
    }))
}

/// Moves `hidden` past `stage`, window by window, and returns what its attention met; nothing where it has none.
fn recorded(
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

fn advance(stage: &dyn Stage, hidden: &mut [Hidden]) -> Result<(), TaskError> {
    hidden.par_iter_mut().try_for_each(|hidden| {
        *hidden = stage.forward(hidden.clone(), &mut NoTap).map_err(failed)?;
        Ok(())
    })
}

impl<'a> Run<'a> {
    fn new(candidate: &'a Candidate, plans: Vec<BlockPlan>, judged: &[Hidden]) -> Self {
        let differs = plans.iter().any(|plan| match plan {
            BlockPlan::Cache(plan) => {
                let recent = plan.recent_keys.max(plan.recent_values);
                recent > 0 || plan.chunk.max(plan.value_chunk) > 1
            }
            BlockPlan::Kept | BlockPlan::Attention { .. } => false,
        });
        Self {
            candidate,
            plans,
            strict: judged.to_vec(),
            runtime: differs.then(|| judged.to_vec()),
            blocks: Vec::new(),
            work: Work::default(),
        }
    }

    /// Passes a block: fits the method to it, compares, and goes on with what it makes of its own states.
    fn block(
        &mut self,
        stage: &mut dyn Stage,
        shape: &BlockShape,
        fitting: &[Attending],
        judged: &[Attending],
    ) -> Result<(), TaskError> {
        let block = shape.cache.layer;
        match (&self.candidate.way, &self.plans[block]) {
            (Way::Cache(quantizer), BlockPlan::Cache(plan)) => {
                let samples = Samples::new(plan.hook, fitting);
                let codec = samples.lend(|samples| quantizer.fit(shape.cache, samples));
                let strict = CachePolicy {
                    codec: codec.map_err(|source| refused(block, source))?.into(),
                    plan: plan.clone(),
                    protocol: Protocol::Strict,
                };
                let mut sums = BlockSums::default();
                let restored = judged.par_iter().map(|exact| strict.restored(exact));
                let restored: Vec<_> = restored.collect();
                for (exact, [keys, values]) in judged.iter().zip(&restored) {
                    sums.add(exact, keys, values);
                }
                self.blocks.push(sums.finish(block));
                stage.attend_by(Arc::new(strict.clone()));
                advance(stage, &mut self.strict)?;
                if let Some(runtime) = &mut self.runtime {
                    stage.attend_by(Arc::new(CachePolicy {
                        protocol: Protocol::Runtime,
                        ..strict
                    }));
                    advance(stage, runtime)?;
                }
                Ok(())
            }
            (Way::Attention(method), BlockPlan::Attention { .. }) => {
                let policy =
                    SparsePolicy::new(Arc::clone(method), shape.cache.layers, shape.rotary.clone());
                let policy = Arc::new(policy);
                let mut sums = BlockSums::default();
                for exact in judged {
                    let compared = policy.compare(exact, QUERIES, TOP_KEYS);
                    for found in compared.map_err(|source| refused(block, source))? {
                        sums.add_comparison(&found);
                    }
                }
                self.blocks.push(sums.finish(block));
                stage.attend_by(policy.clone() as Arc<dyn AttentionPolicy>);
                advance(stage, &mut self.strict)?;
                self.work = self.work.and(policy.take_work());
                Ok(())
            }
            _ => {
                stage.attend_by(Arc::new(Recorder::default()));
                self.advance(stage)
            }
        }
    }

    fn advance(&mut self, stage: &dyn Stage) -> Result<(), TaskError> {
        advance(stage, &mut self.strict)?;
        match &mut self.runtime {
            Some(runtime) => advance(stage, runtime),
            None => Ok(()),
        }
    }

    fn finish(
        self,
        shapes: &[BlockShape],
        head: &dyn Stage,
        ids: &[Vec<u32>],
        judged: &[Hidden],
        seed: u64,
    ) -> Result<Outcome, TaskError> {
        let cost = |states: &[Hidden]| token_cost(head, ids, judged, states, seed);
        let mut notes: Vec<String> = Vec::new();
        for note in self.plans.iter().flat_map(BlockPlan::notes) {
            if !notes.contains(note) {
                notes.push(note.clone());
            }
        }
        let cached = self
            .plans
            .iter()
            .any(|plan| matches!(plan, BlockPlan::Cache(_)));
        let size = cached.then(|| CacheSize::of(&Candidate::planned_caches(shapes, &self.plans)));
        let sparse = self.work.exact > 0;
        Ok(Outcome {
            method: self.candidate.method,
            label: self.candidate.label.clone(),
            engines: self.candidate.engines,
            size,
            score_share: sparse.then(|| self.work.evaluations as f64 / self.work.exact as f64),
            kept_keys: sparse.then_some(self.work.kept_keys),
            strict: cost(&self.strict)?,
            runtime: self.runtime.as_deref().map(cost).transpose()?,
            blocks: self.blocks,
            notes,
        })
    }
}
