//! One transformer block as a stage.

use super::experts::Experts;
use super::flow::{FeedForward, Flow, NextOfEach, Sequences};
use super::mlp::Mlp;
use super::norm::Norm;
use super::self_attention::SelfAttention;
use super::{Constant, Loader};
use crate::architectures::StageSpec;
use crate::attention_policy::AttentionPolicy;
use crate::plain_cache::CacheFloats;
use crate::{Hidden, KeyValueCache, NextTokens, NoTap, Stage, StageError, Tap};
use burn::tensor::{Device, Tensor};
use quantizers::graph::{BlockNode, MlpNode, NormNode, NormPlacement, StageNode, TensorSpec};
use std::sync::Arc;

impl StageSpec for BlockNode {
    fn node(&self) -> StageNode {
        StageNode::Block(Box::new(self.clone()))
    }

    fn build(&self, loader: &Loader<'_>) -> Result<Box<dyn Stage>, StageError> {
        let norm = |node: &Option<NormNode>| {
            let node = node.as_ref();
            node.map(|node| Norm::load(node, loader)).transpose()
        };
        let scale = |spec: &Option<TensorSpec>| {
            let spec = spec.as_ref();
            let scale = spec.map(|spec| loader.read::<1>(spec)).transpose()?;
            Ok::<_, StageError>(scale.map(Constant::from))
        };
        Ok(Box::new(Block {
            index: self.index,
            attention_norm: norm(&self.attention_norm)?,
            attention: SelfAttention::load(&self.attention, self.index, loader)?,
            attention_output_norm: norm(&self.attention_output_norm)?,
            attention_scale: scale(&self.attention_scale)?,
            mlp_norm: norm(&self.mlp_norm)?,
            mlp: match &self.mlp {
                MlpNode::Dense(node) => FeedForward::Dense(Mlp::load(node, loader)?),
                MlpNode::Experts(node) => FeedForward::Experts(Experts::load(node, loader)?),
            },
            mlp_output_norm: norm(&self.mlp_output_norm)?,
            mlp_scale: scale(&self.mlp_scale)?,
            placement: self.placement,
            parallel: self.parallel,
            residual_scale: self.residual_scale,
        }))
    }
}

struct Block {
    index: usize,
    attention_norm: Option<Norm>,
    attention: SelfAttention,
    attention_output_norm: Option<Norm>,
    attention_scale: Option<Constant<1>>,
    mlp_norm: Option<Norm>,
    mlp: FeedForward,
    mlp_output_norm: Option<Norm>,
    mlp_scale: Option<Constant<1>>,
    placement: NormPlacement,
    parallel: bool,
    residual_scale: f64,
}

fn normed<F: Flow>(norm: Option<&Norm>, x: F::Values, flow: &mut F) -> F::Values {
    match norm {
        Some(norm) => flow.normed(norm, x),
        None => x,
    }
}

fn by_channel<F: Flow>(factors: Option<&Constant<1>>, x: F::Values, flow: &mut F) -> F::Values {
    match factors {
        Some(factors) => flow.by_channel(factors, x),
        None => x,
    }
}

impl Block {
    /// Both halves.
    fn run<F: Flow>(&self, x: F::Values, flow: &mut F) -> Result<F::Values, StageError> {
        Ok(match self.placement {
            NormPlacement::Before => {
                let input = normed(self.attention_norm.as_ref(), x.clone(), flow);
                let attended = flow.attended(&self.attention, input.clone())?;
                let attended = normed(self.attention_output_norm.as_ref(), attended, flow);
                let attended = by_channel(self.attention_scale.as_ref(), attended, flow);
                let attended = self.scaled(attended, flow);
                if self.parallel {
                    let sum = flow.sum(x.clone(), attended);
                    if flow.is_done() {
                        return Ok(sum);
                    }
                    let input = match &self.mlp_norm {
                        Some(norm) => flow.normed(norm, x),
                        None => input,
                    };
                    let fed = self.fed(input, flow);
                    return Ok(flow.sum(sum, fed));
                }
                let x = flow.sum(x, attended);
                if flow.is_done() {
                    return Ok(x);
                }
                let input = normed(self.mlp_norm.as_ref(), x.clone(), flow);
                let fed = self.fed(input, flow);
                flow.sum(x, fed)
            }
            NormPlacement::AfterResidual => {
                let attended = flow.attended(&self.attention, x.clone())?;
                let attended = by_channel(self.attention_scale.as_ref(), attended, flow);
                let attended = self.scaled(attended, flow);
                let x = flow.sum(x, attended);
                if flow.is_done() {
                    return Ok(x);
                }
                let x = normed(self.attention_norm.as_ref(), x, flow);
                let fed = self.fed(x.clone(), flow);
                let x = flow.sum(x, fed);
                normed(self.mlp_norm.as_ref(), x, flow)
            }
        })
    }

    /// What the feed-forward half adds to the residual.
    fn fed<F: Flow>(&self, input: F::Values, flow: &mut F) -> F::Values {
        let output = flow.fed(&self.mlp, input);
        let output = normed(self.mlp_output_norm.as_ref(), output, flow);
        let output = by_channel(self.mlp_scale.as_ref(), output, flow);
        self.scaled(output, flow)
    }

    fn scaled<F: Flow>(&self, x: F::Values, flow: &mut F) -> F::Values {
        // Exactly one for most families, where a product would only cost time.
        if self.residual_scale.to_bits() == 1.0_f64.to_bits() {
            x
        } else {
            flow.scaled(x, self.residual_scale)
        }
    }

    fn name(&self) -> String {
        format!("block {}", self.index)
    }

    fn states(&self, hidden: Hidden) -> Result<Tensor<3>, StageError> {
        hidden.into_states(|| self.name())
    }
}

impl Stage for Block {
    fn forward(&self, hidden: Hidden, tap: &mut dyn Tap) -> Result<Hidden, StageError> {
        let mut flow = Sequences { tap, cache: None };
        self.run(self.states(hidden)?, &mut flow)
            .map(Hidden::States)
    }

    fn attend_by(&mut self, policy: Arc<dyn AttentionPolicy>) {
        self.attention.attend_by(policy);
    }

    fn next_of_each(
        &self,
        next: NextTokens,
        caches: &mut [&mut KeyValueCache],
        device: &Device,
    ) -> Result<NextTokens, StageError> {
        let rows = next.into_rows(|| self.name())?;
        let mut flow = NextOfEach { caches, device };
        self.run(rows, &mut flow).map(NextTokens::Rows)
    }

    fn begin(&self, hidden: Hidden, cache: &mut KeyValueCache) -> Result<Hidden, StageError> {
        let mut flow = Sequences {
            tap: &mut NoTap,
            cache: Some(cache),
        };
        self.run(self.states(hidden)?, &mut flow)
            .map(Hidden::States)
    }

    fn cache(&self, floats: CacheFloats) -> Result<KeyValueCache, StageError> {
        self.attention.cache(floats)
    }

    fn takes_pieces(&self) -> bool {
        self.attention.takes_pieces()
    }
}
