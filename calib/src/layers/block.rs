//! One transformer block as a stage.

use super::Loader;
use super::experts::Experts;
use super::mlp::Mlp;
use super::norm::Norm;
use super::self_attention::SelfAttention;
use crate::architectures::StageSpec;
use crate::attention_policy::AttentionPolicy;
use crate::{Hidden, KeyValueCache, NoTap, Stage, StageError, Tap};
use burn::tensor::Tensor;
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
            spec.map(|spec| loader.read::<1>(spec)).transpose()
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

#[expect(clippy::large_enum_variant, reason = "one per block")]
enum FeedForward {
    Dense(Mlp),
    Experts(Experts),
}

impl FeedForward {
    fn forward(&self, x: Tensor<3>, tap: &mut dyn Tap) -> Tensor<3> {
        match self {
            Self::Dense(mlp) => mlp.forward(x, tap),
            Self::Experts(experts) => experts.forward(x, tap),
        }
    }
}

struct Block {
    index: usize,
    attention_norm: Option<Norm>,
    attention: SelfAttention,
    attention_output_norm: Option<Norm>,
    attention_scale: Option<Tensor<1>>,
    mlp_norm: Option<Norm>,
    mlp: FeedForward,
    mlp_output_norm: Option<Norm>,
    mlp_scale: Option<Tensor<1>>,
    placement: NormPlacement,
    parallel: bool,
    residual_scale: f64,
}

fn normed(norm: Option<&Norm>, x: Tensor<3>, tap: &mut dyn Tap) -> Tensor<3> {
    match norm {
        Some(norm) => norm.seen(x, tap),
        None => x,
    }
}

fn by_channel(factors: Option<&Tensor<1>>, x: Tensor<3>) -> Tensor<3> {
    match factors {
        Some(factors) => x * factors.clone().unsqueeze::<3>(),
        None => x,
    }
}

impl Block {
    /// Both halves around `attend`, which is given the attention half's input.
    fn run(
        &self,
        x: Tensor<3>,
        tap: &mut dyn Tap,
        attend: impl FnOnce(Tensor<3>, &mut dyn Tap) -> Result<Tensor<3>, StageError>,
    ) -> Result<Hidden, StageError> {
        self.around(x, tap, attend).map(Hidden::States)
    }

    fn around(
        &self,
        x: Tensor<3>,
        tap: &mut dyn Tap,
        attend: impl FnOnce(Tensor<3>, &mut dyn Tap) -> Result<Tensor<3>, StageError>,
    ) -> Result<Tensor<3>, StageError> {
        Ok(match self.placement {
            NormPlacement::Before => {
                let input = normed(self.attention_norm.as_ref(), x.clone(), tap);
                let attended = attend(input.clone(), tap)?;
                let attended = normed(self.attention_output_norm.as_ref(), attended, tap);
                let attended = self.scaled(by_channel(self.attention_scale.as_ref(), attended));
                if self.parallel {
                    if tap.done() {
                        return Ok(x + attended);
                    }
                    let input = match &self.mlp_norm {
                        Some(norm) => norm.seen(x.clone(), tap),
                        None => input,
                    };
                    return Ok(x + attended + self.fed(input, tap));
                }
                let x = x + attended;
                if tap.done() {
                    return Ok(x);
                }
                let input = normed(self.mlp_norm.as_ref(), x.clone(), tap);
                x + self.fed(input, tap)
            }
            NormPlacement::AfterResidual => {
                let attended = by_channel(self.attention_scale.as_ref(), attend(x.clone(), tap)?);
                let x = x + self.scaled(attended);
                if tap.done() {
                    return Ok(x);
                }
                let x = normed(self.attention_norm.as_ref(), x, tap);
                let x = x.clone() + self.fed(x, tap);
                normed(self.mlp_norm.as_ref(), x, tap)
            }
        })
    }

    /// What the feed-forward half adds to the residual.
    fn fed(&self, input: Tensor<3>, tap: &mut dyn Tap) -> Tensor<3> {
        let output = self.mlp.forward(input, tap);
        let output = normed(self.mlp_output_norm.as_ref(), output, tap);
        self.scaled(by_channel(self.mlp_scale.as_ref(), output))
    }

    fn scaled(&self, x: Tensor<3>) -> Tensor<3> {
        // Exactly one for most families, where a product would only cost time.
        if self.residual_scale.to_bits() == 1.0_f64.to_bits() {
            x
        } else {
            x * self.residual_scale
        }
    }
}

impl Stage for Block {
    fn forward(&self, hidden: Hidden, tap: &mut dyn Tap) -> Result<Hidden, StageError> {
        let x = hidden.into_states(|| format!("block {}", self.index))?;
        self.run(x, tap, |x, tap| self.attention.forward(x, tap))
    }

    fn attend_by(&mut self, policy: Arc<dyn AttentionPolicy>) {
        self.attention.attend_by(policy);
    }

    fn next(&self, hidden: Hidden, cache: &mut KeyValueCache) -> Result<Hidden, StageError> {
        let x = hidden.into_states(|| format!("block {}", self.index))?;
        self.run(x, &mut NoTap, |x, _| Ok(self.attention.next(x, cache)))
    }

    fn next_of_each(
        &self,
        hidden: Hidden,
        caches: &mut [&mut KeyValueCache],
    ) -> Result<Hidden, StageError> {
        let x = hidden.into_states(|| format!("block {}", self.index))?;
        self.run(x, &mut NoTap, |x, _| {
            Ok(self.attention.next_of_each(x, caches))
        })
    }

    fn begin(&self, hidden: Hidden, cache: &mut KeyValueCache) -> Result<Hidden, StageError> {
        let x = hidden.into_states(|| format!("block {}", self.index))?;
        self.run(x, &mut NoTap, |x, _| self.attention.begin(x, cache))
    }

    fn cache(&self) -> Result<KeyValueCache, StageError> {
        self.attention.cache()
    }
}
