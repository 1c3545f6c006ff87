//! One transformer block as a stage.

use super::mlp::Mlp;
use super::norm::Norm;
use super::self_attention::SelfAttention;
use super::{Inventory, Loader, MlpSpec, NormSpec, SelfAttentionSpec};
use crate::architectures::StageSpec;
use crate::encoder_graph::{Inexpressible, Sketch};
use crate::{Hidden, KeyValueCache, NoTap, Stage, StageError, Tap};
use burn::tensor::Tensor;
use quantizers::integer::compile::graph;

/// Where the two normalisations of a block sit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormPlacement {
    /// `x + f(norm(x))`.
    Before,
    /// `norm(x + f(x))`.
    AfterResidual,
}

/// What a block reads.
#[derive(Debug, Clone, PartialEq)]
pub struct BlockSpec {
    /// Position among the blocks, from 0.
    pub index: usize,
    /// Normalisation of the attention half.
    pub attention_norm: NormSpec,
    /// The attention half.
    pub attention: SelfAttentionSpec,
    /// Normalisation of the feed-forward half.
    pub mlp_norm: NormSpec,
    /// The feed-forward half.
    pub mlp: MlpSpec,
    /// Before each half, or after its residual.
    pub placement: NormPlacement,
}

impl StageSpec for BlockSpec {
    fn name(&self) -> String {
        format!("block {}", self.index)
    }

    fn list(&self, inventory: &mut Inventory) {
        self.attention_norm.list(inventory);
        self.attention.list(inventory);
        self.mlp_norm.list(inventory);
        self.mlp.list(inventory);
    }

    fn describe(&self, sketch: &mut Sketch) -> Result<(), Inexpressible> {
        let attention = &self.attention;
        let [query, key, value] = attention.expressible()?;
        let mlp = &self.mlp;
        if mlp.gate.is_some() {
            return Err(Inexpressible("has a gated feed-forward half"));
        }
        sketch.blocks.push(graph::Block {
            index: self.index,
            query: query.node()?,
            key: key.node()?,
            value: value.node()?,
            output: attention.output.node()?,
            heads: attention.heads,
            head_dim: attention.head_dim,
            scale: attention.scale,
            attention_norm: self.attention_norm.node(),
            up: mlp.up.node()?,
            down: mlp.down.node()?,
            activation: mlp.activation.node()?,
            mlp_norm: self.mlp_norm.node(),
            pre_norm: self.placement == NormPlacement::Before,
        });
        Ok(())
    }

    fn build(&self, loader: &Loader<'_>) -> Result<Box<dyn Stage>, StageError> {
        Ok(Box::new(Block {
            index: self.index,
            attention_norm: self.attention_norm.load(loader)?,
            attention: self.attention.load(loader)?,
            mlp_norm: self.mlp_norm.load(loader)?,
            mlp: self.mlp.load(loader)?,
            placement: self.placement,
        }))
    }
}

struct Block {
    index: usize,
    attention_norm: Norm,
    attention: SelfAttention,
    mlp_norm: Norm,
    mlp: Mlp,
    placement: NormPlacement,
}

impl Block {
    /// Both halves around `attend`, which is given the attention half's input.
    fn run(
        &self,
        x: Tensor<3>,
        tap: &mut dyn Tap,
        attend: impl FnOnce(Tensor<3>, &mut dyn Tap) -> Tensor<3>,
    ) -> Tensor<3> {
        match self.placement {
            NormPlacement::Before => {
                let normed = self.attention_norm.seen(x.clone(), tap);
                let x = x + attend(normed, tap);
                let normed = self.mlp_norm.seen(x.clone(), tap);
                x + self.mlp.forward(normed, tap)
            }
            NormPlacement::AfterResidual => {
                let x = x.clone() + attend(x, tap);
                let x = self.attention_norm.seen(x, tap);
                let x = x.clone() + self.mlp.forward(x, tap);
                self.mlp_norm.seen(x, tap)
            }
        }
    }
}

impl Stage for Block {
    fn forward(&self, hidden: Hidden, tap: &mut dyn Tap) -> Result<Hidden, StageError> {
        let x = hidden.into_states(|| format!("block {}", self.index))?;
        Ok(Hidden::States(
            self.run(x, tap, |x, tap| self.attention.forward(x, tap)),
        ))
    }

    fn next(&self, hidden: Hidden, cache: &mut KeyValueCache) -> Result<Hidden, StageError> {
        let x = hidden.into_states(|| format!("block {}", self.index))?;
        Ok(Hidden::States(
            self.run(x, &mut NoTap, |x, _| self.attention.next(x, cache)),
        ))
    }
}
