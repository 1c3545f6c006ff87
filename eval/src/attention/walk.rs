//! One walk through a model that tries every way of keeping keys and values, block by block.

use super::candidate::{BlockPlan, BlockShape, Candidate, Way};
use super::fit::Codecs;
use super::fit_backward::{Fitting, fit_backward};
use super::next_token::{TokenCost, token_costs};
use super::passes::{advance, built, recorded, refused};
use super::recorder::Recorder;
use super::retrieve::{RetrievalCell, cells, found};
use super::rows::{BlockCost, BlockSums, QUERIES, Reference, TOP_KEYS};
use super::samples::Samples;
use super::size::CacheSize;
use crate::error::TaskError;
use crate::retrieval::Probe;
use crate::runner::Progress;
use calib::attention_policy::{Attending, AttentionPolicy, ByBlock};
use calib::cache_policy::{CachePolicy, Protocol};
use calib::running::fisher::{KeyValueOptions, Sequence};
use calib::sparse_policy::{SparsePolicy, Work};
use calib::{Forward, Hidden, Stage};
use quantizers::attentions::SparseAttention;
use rayon::prelude::*;
use serde::Serialize;
use std::sync::Arc;

/// Windows of text, each a batch of its own.
pub struct Windows {
    /// What methods are fitted on.
    pub fitting: Vec<Sequence>,
    /// What they are judged on.
    pub judged: Vec<Sequence>,
    /// Texts that hide something, if any, with the batch of each.
    pub probes: (Vec<Probe>, Vec<Hidden>),
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
    /// What is found in texts that hide something, in use.
    pub retrieval: Vec<RetrievalCell>,
    /// What the method has to say.
    pub notes: Vec<String>,
}

/// A candidate on its way through the model.
struct Run<'a> {
    candidate: &'a Candidate,
    plans: Vec<BlockPlan>,
    /// Codecs that were fitted before, by block; the others are fitted on the way.
    fitted: Codecs,
    strict: Vec<Hidden>,
    /// Every block so far has given back the very keys and values: the states are those of the original.
    is_exact: bool,
    /// Only where it differs.
    runtime: Option<Vec<Hidden>>,
    blocks: Vec<BlockCost>,
    /// What attends in each block, in use; nothing where that is exact.
    policies: Vec<Option<Arc<dyn AttentionPolicy>>>,
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
    backward: &KeyValueOptions,
    progress: &dyn Progress,
) -> Result<Vec<Outcome>, TaskError> {
    let last = forward.model().stages() - 1;
    let inputs = |sequences: &[Sequence]| -> Vec<Hidden> {
        sequences.iter().map(|found| found.input.clone()).collect()
    };
    let mut judged = inputs(&windows.judged);
    let mut runs: Vec<Run<'_>> = candidates
        .into_iter()
        .map(|(candidate, plans)| Run::new(candidate, plans, &judged))
        .collect();
    fit_with_gradients(
        forward,
        shapes,
        &mut runs,
        &windows.fitting,
        (backward, progress),
    )?;
    let mut fitting = if runs.iter().any(Run::needs_samples) {
        inputs(&windows.fitting)
    } else {
        Vec::new()
    };
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
        let compared = match shape {
            Some(shape) if runs.iter().any(|run| run.quantizes(shape.cache.layer)) => {
                of_judged.par_iter().map(Reference::new).collect()
            }
            _ => Vec::new(),
        };
        for run in &mut runs {
            match shape {
                Some(shape) => {
                    let before = (&of_judged[..], &compared[..]);
                    run.block(built.as_mut(), shape, &of_fitting, (before, &judged))?;
                }
                None => run.advance(built.as_ref())?,
            }
        }
        progress.advance(1);
    }
    let head = built(forward, last)?;
    let states: Vec<&[Hidden]> = runs.iter().flat_map(Run::states).collect();
    let ids: Vec<&[u32]> = windows
        .judged
        .iter()
        .map(|found| &found.tokens[..])
        .collect();
    let vocabulary = forward.model().vocabulary().unwrap_or(1);
    let head = (head.as_ref(), vocabulary);
    let costs = token_costs(head, &ids, &judged, &states, backward.seed)?;
    drop(states);
    let mut costs = costs.into_iter();
    let finished = runs.into_iter().map(|run| run.finish(shapes, &mut costs));
    let (mut outcomes, policies): (Vec<Outcome>, Vec<ByBlock>) = finished.unzip();
    progress.advance(1);
    let (probes, inputs) = windows.probes;
    if probes.is_empty() {
        return Ok(outcomes);
    }
    progress.begin((outcomes.len() + 1) as u64, "methods");
    let original = found(forward, None, &probes, &inputs)?;
    progress.advance(1);
    for (outcome, policy) in outcomes.iter_mut().zip(policies) {
        let found = found(forward, Some(Arc::new(policy)), &probes, &inputs)?;
        outcome.retrieval = cells(&probes, &original, &found);
        progress.advance(1);
    }
    Ok(outcomes)
}

/// Fits the methods that weigh errors by gradients of the loss, all in one walk to the loss and back.
fn fit_with_gradients(
    forward: &Forward<'_>,
    shapes: &[BlockShape],
    runs: &mut [Run<'_>],
    sequences: &[Sequence],
    (options, progress): (&KeyValueOptions, &dyn Progress),
) -> Result<(), TaskError> {
    let fittings: Vec<Fitting<'_>> = runs.iter().filter_map(Run::fitting).collect();
    if fittings.is_empty() {
        return Ok(());
    }
    let mut done = 0;
    let mut report = |reached: usize, steps: usize| {
        if done == 0 {
            progress.begin(steps as u64, "stages");
        }
        progress.advance((reached - done) as u64);
        done = reached;
    };
    let fitted = fit_backward(forward, shapes, &fittings, sequences, options, &mut report)?;
    drop(fittings);
    let wanting = runs.iter_mut().filter(|run| run.fitting().is_some());
    for (run, codecs) in wanting.zip(fitted) {
        run.fitted = codecs;
    }
    Ok(())
}

/// `method` in the block of `shape`.
pub fn sparse(method: &Arc<dyn SparseAttention>, shape: &BlockShape) -> SparsePolicy {
    SparsePolicy::new(Arc::clone(method), shape.cache.layers, shape.rope.clone())
}

/// What sequences add up to, in their order.
fn all(sums: Vec<BlockSums>) -> BlockSums {
    sums.into_iter().fold(BlockSums::default(), BlockSums::and)
}

impl<'a> Run<'a> {
    fn new(candidate: &'a Candidate, plans: Vec<BlockPlan>, judged: &[Hidden]) -> Self {
        let differs = plans.iter().any(BlockPlan::waits);
        Self {
            candidate,
            plans,
            fitted: Vec::new(),
            strict: judged.to_vec(),
            is_exact: true,
            runtime: differs.then(|| judged.to_vec()),
            blocks: Vec::new(),
            policies: Vec::new(),
            work: Work::default(),
        }
    }

    /// What is to be fitted with gradients of the loss, if so.
    fn fitting(&self) -> Option<Fitting<'_>> {
        let Way::Cache(quantizer) = &self.candidate.way else {
            return None;
        };
        let fitting = Fitting {
            quantizer: quantizer.as_ref(),
            plans: &self.plans,
        };
        fitting.wants_gradients().then_some(fitting)
    }

    /// Whether anything is to be fitted on the way.
    fn needs_samples(&self) -> bool {
        let mut plans = self.plans.iter();
        self.fitted.is_empty()
            && plans.any(|plan| matches!(plan, BlockPlan::Cache(plan) if plan.needs_samples))
    }

    /// Whether it packs keys and values in `block`.
    fn quantizes(&self, block: usize) -> bool {
        matches!(self.plans[block], BlockPlan::Cache(_))
    }

    /// What enters the next stage, of every protocol.
    fn states(&self) -> impl Iterator<Item = &[Hidden]> {
        let runtime = self.runtime.as_deref();
        std::iter::once(&self.strict[..]).chain(runtime)
    }

    /// Passes a block: fits the method to it, compares, and goes on with what it makes of its own states.
    fn block(
        &mut self,
        stage: &mut dyn Stage,
        shape: &BlockShape,
        fitting: &[Attending],
        ((judged, compared), after): ((&[Attending], &[Reference]), &[Hidden]),
    ) -> Result<(), TaskError> {
        let block = shape.cache.layer;
        match (&self.candidate.way, &self.plans[block]) {
            (Way::Cache(quantizer), BlockPlan::Cache(plan)) => {
                let before = self.fitted.get_mut(block).and_then(Option::take);
                let codec = if let Some(codec) = before {
                    codec
                } else {
                    // As it is fitted when it is written, whatever else is tried.
                    let fitting = if plan.needs_samples { fitting } else { &[] };
                    let samples = Samples::new(plan.hook, fitting);
                    let codec = samples.lend(|samples| quantizer.fit(shape.cache, samples));
                    codec.map_err(|source| refused(block, source))?
                };
                let strict = CachePolicy {
                    codec: codec.into(),
                    plan: plan.clone(),
                    protocol: Protocol::Strict,
                };
                let sums = judged.par_iter().zip(compared).map(|(exact, reference)| {
                    let [keys, values] = strict.restored(exact);
                    let mut sums = BlockSums::default();
                    sums.add((exact, reference), &keys, &values);
                    sums
                });
                let sums = all(sums.collect());
                self.is_exact &= sums.is_exact();
                self.blocks.push(sums.finish(block));
                if self.is_exact {
                    self.strict = after.to_vec();
                } else {
                    stage.attend_by(Arc::new(strict.clone()));
                    advance(stage, &mut self.strict)?;
                }
                let in_use = Arc::new(CachePolicy {
                    protocol: Protocol::Runtime,
                    ..strict
                });
                self.policies.push(Some(in_use.clone()));
                if let Some(runtime) = &mut self.runtime {
                    stage.attend_by(in_use);
                    advance(stage, runtime)?;
                }
                Ok(())
            }
            (Way::Attention(method), BlockPlan::Attention { .. }) => {
                let policy = Arc::new(sparse(method, shape));
                let sums = judged.par_iter().map(|exact| {
                    let compared = policy.losses(exact, QUERIES, TOP_KEYS);
                    let mut sums = BlockSums::default();
                    for found in compared.map_err(|source| refused(block, source))? {
                        sums.add_loss(&found);
                    }
                    Ok(sums)
                });
                let sums = sums.collect::<Result<_, TaskError>>()?;
                self.blocks.push(all(sums).finish(block));
                self.policies.push(Some(policy.clone()));
                self.is_exact = false;
                stage.attend_by(policy.clone() as Arc<dyn AttentionPolicy>);
                advance(stage, &mut self.strict)?;
                self.work = self.work.and(policy.take_work());
                Ok(())
            }
            _ => {
                self.policies.push(None);
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

    /// Its figures and what attends in each block; `costs` gives one for each of its [`Self::states`].
    fn finish(
        self,
        shapes: &[BlockShape],
        costs: &mut dyn Iterator<Item = TokenCost>,
    ) -> (Outcome, ByBlock) {
        let mut cost = || costs.next().expect("a cost for all states of all runs");
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
        let outcome = Outcome {
            method: self.candidate.method,
            label: self.candidate.label.clone(),
            engines: self.candidate.engines,
            size,
            score_share: sparse.then(|| self.work.evaluations as f64 / self.work.exact as f64),
            kept_keys: sparse.then_some(self.work.kept_keys),
            strict: cost(),
            runtime: self.runtime.is_some().then(cost),
            blocks: self.blocks,
            retrieval: Vec::new(),
            notes,
        };
        (outcome, ByBlock(self.policies))
    }
}
