//! An encoder of which each block computes a share of the tokens only, chosen by the model's own attention: what the
//! token-keeping rule of STTABT costs. The choice needs all attention, so nothing is saved here; the figures say what
//! a network that predicts attention maps could save.

use crate::error::{Side, TaskError};
use crate::forward_runner::states_of;
use crate::runner::{Progress, Runner, Wanted};
use burn::tensor::{Device, Int, Tensor, TensorData};
use calib::attention_policy::{Attending, AttentionPolicy};
use calib::hidden::values;
use calib::inputs::Inputs;
use calib::layers::attention::{attend, shares_from};
use calib::policy_error::PolicyError;
use calib::{Forward, Hidden, Model, NoTap, StageError, WeightSource};
use quantizers::attentions::sttabt::{IMPACT_SHARE, kept_tokens};
use quantizers::graph::{BlockNode, Graph, Positions, StageNode};
use quantizers::matrix::MatrixRef;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use thiserror::Error;

/// A model whose tokens cannot be left out.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CannotPrune {
    /// Not the first token decides.
    #[error("expected a head that reads the first token, as that is what tokens are kept for")]
    Head,
    /// A stage of another kind, or none that is a block.
    #[error("expected transformer blocks between an embedding and a head")]
    Stages,
    /// Positions are part of the attention, which a token then sees from another place.
    #[error("block {block} has {found}: expected positions that are added to the embeddings alone")]
    Positions {
        /// Number of the block.
        block: usize,
        /// What it has.
        found: &'static str,
    },
}

/// The model.
pub struct Pruned<'a> {
    forward: Forward<'a>,
    maps: Arc<Maps>,
    keep: f64,
    computed: Arc<Computed>,
}

/// Tokens computed in blocks, and those there are.
#[derive(Debug, Default)]
pub struct Computed([AtomicU64; 2]);

impl Computed {
    /// The share of the tokens that blocks have computed so far.
    pub fn share(&self) -> f64 {
        let [computed, all] = self.0.each_ref().map(|count| count.load(Ordering::Relaxed));
        computed as f64 / all.max(1) as f64
    }

    fn add(&self, computed: usize, all: usize) {
        for (count, more) in self.0.iter().zip([computed, all]) {
            count.fetch_add(more as u64, Ordering::Relaxed);
        }
    }
}

impl<'a> Pruned<'a> {
    /// Each block of `model` computes the share `keep` of the tokens, from 0 to 1, and the first one.
    ///
    /// # Errors
    /// A model the rule is not made for.
    pub fn new(
        model: &'a dyn Model,
        source: &'a dyn WeightSource,
        device: Device,
        keep: f64,
    ) -> Result<Self, CannotPrune> {
        check(model.graph())?;
        let maps = Arc::new(Maps::default());
        let forward = Forward::new(model, source, device).attending_by(maps.clone());
        Ok(Self {
            forward,
            maps,
            keep,
            computed: Arc::default(),
        })
    }

    /// Builds all stages at once, for models that fit.
    ///
    /// # Errors
    /// A stage that cannot be built.
    pub fn keep_resident(&mut self) -> Result<(), StageError> {
        self.forward.keep_resident()
    }

    /// What is counted while it runs.
    pub fn computed(&self) -> Arc<Computed> {
        Arc::clone(&self.computed)
    }

    /// What the head returns for one input.
    fn output(&self, input: Hidden) -> Result<Hidden, StageError> {
        let stages = self.forward.model().stages();
        let run = |stage: usize, hidden: Hidden| {
            let ran = self
                .forward
                .with_stage(stage, |built| built.forward(hidden, &mut NoTap));
            ran?
        };
        let embedded = run(0, input)?;
        let mut all = embedded.clone();
        let mut maps = Vec::with_capacity(stages - 2);
        for stage in 1..stages - 1 {
            all = run(stage, all)?;
            maps.extend(self.maps.take());
        }
        let tokens = maps.first().map_or(0, |map: &Map| map.tokens);
        let views: Vec<MatrixRef<'_>> = maps.iter().map(Map::view).collect();
        let heads: Vec<&[MatrixRef<'_>]> = views.iter().map(std::slice::from_ref).collect();
        let keep = vec![self.keep; heads.len()];
        let kept = kept_tokens(&heads, &keep, IMPACT_SHARE);
        let kept = kept.map_err(|error| {
            StageError::Policy(PolicyError {
                block: 0,
                source: error.into(),
            })
        })?;
        let mut states = embedded.into_states(|| "block 0".to_owned())?;
        let mut before: Vec<usize> = (0..tokens).collect();
        for (at, kept) in kept.into_iter().enumerate() {
            states = rows(&states, &before, &kept);
            states = run(1 + at, Hidden::States(states))?.into_states(|| format!("block {at}"))?;
            // Attention of what was kept is of no use.
            self.maps.take();
            self.computed.add(kept.len(), tokens);
            before = kept;
        }
        run(stages - 1, Hidden::States(states))
    }
}

/// The rows of `states`, which are those of the tokens `before`, of the tokens `kept` among them.
fn rows(states: &Tensor<3>, before: &[usize], kept: &[usize]) -> Tensor<3> {
    if before.len() == kept.len() {
        return states.clone();
    }
    let places = kept
        .iter()
        .filter_map(|token| before.binary_search(token).ok());
    let places: Vec<i64> = places.filter_map(|at| i64::try_from(at).ok()).collect();
    let count = places.len();
    let places = Tensor::<1, Int>::from_data(TensorData::new(places, [count]), &states.device());
    states.clone().select(1, places)
}

fn check(graph: &Graph) -> Result<(), CannotPrune> {
    let [first, blocks @ .., StageNode::Head(head)] = &graph.stages[..] else {
        return Err(CannotPrune::Stages);
    };
    let embeds = matches!(first, StageNode::Tokens(_) | StageNode::Patches(_));
    if !embeds || blocks.is_empty() {
        return Err(CannotPrune::Stages);
    }
    for stage in blocks {
        let StageNode::Block(block) = stage else {
            return Err(CannotPrune::Stages);
        };
        if let Some(found) = placed(block) {
            return Err(CannotPrune::Positions {
                block: block.index,
                found,
            });
        }
    }
    if head.positions != Positions::First || head.pooling.is_some() {
        return Err(CannotPrune::Head);
    }
    Ok(())
}

/// What tells the attention of `block` where tokens stand, if anything.
fn placed(block: &BlockNode) -> Option<&'static str> {
    let attention = &block.attention;
    if attention.pattern != quantizers::graph::Pattern::Full {
        return Some("a pattern of who sees whom");
    }
    if attention.rope.is_some() {
        return Some("a rotary embedding");
    }
    if attention.distance.is_some() || attention.slopes.is_some() {
        return Some("scores that depend on distance");
    }
    attention.windows.as_ref().map(|_| "windows")
}

/// Attention of one input in one block: the mean over heads, `[tokens, tokens]`.
#[derive(Debug)]
struct Map {
    tokens: usize,
    shares: Vec<f32>,
}

impl Map {
    fn view(&self) -> MatrixRef<'_> {
        MatrixRef::new(&self.shares, self.tokens, self.tokens).expect("as many shares as pairs")
    }
}

/// Attends exactly and keeps the map until it is taken.
#[derive(Debug, Default)]
struct Maps(Mutex<Option<Map>>);

impl Maps {
    fn take(&self) -> Option<Map> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl AttentionPolicy for Maps {
    fn attend(&self, input: Attending) -> Result<Tensor<4>, PolicyError> {
        let [_, _, tokens, _] = input.query.dims();
        let shares = shares_from(0, input.query.clone(), input.key.clone(), &input.scores);
        let map = Map {
            tokens,
            // Every head counts alike in the rule: their mean orders tokens as they all do.
            shares: values(shares.mean_dim(1)),
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(map);
        Ok(attend(input.query, input.key, input.value, &input.scores))
    }
}

impl Runner for Pruned<'_> {
    fn model(&self) -> &dyn Model {
        self.forward.model()
    }

    fn rows(
        &self,
        side: Side,
        inputs: &Inputs,
        wanted: Wanted,
        progress: &dyn Progress,
    ) -> Result<Vec<Vec<f32>>, TaskError> {
        let all = 0..inputs.len();
        // One after the other: each input keeps other tokens.
        all.map(|at| {
            let input = inputs.batch(&[at], self.forward.device());
            let output = self
                .output(input)
                .map_err(|source| TaskError::Stage { side, source })?;
            let states = states_of(output, side)?;
            let [_, tokens, width] = states.dims();
            let states = values(states);
            progress.advance(1);
            Ok(match wanted {
                Wanted::ClassLogits => states,
                Wanted::Embedding(pooling) => pooling.embedding(&states, [tokens, width]),
            })
        })
        .collect()
    }
}
