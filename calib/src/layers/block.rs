//! One transformer block as a stage.

use super::Loader;
use super::mlp::Mlp;
use super::norm::Norm;
use super::self_attention::SelfAttention;
use crate::architectures::StageSpec;
use crate::{Hidden, Memory, NoTap, Stage, StageError, Tap};
use burn::tensor::Tensor;
use quantizers::graph::{BlockNode, NormPlacement, StageNode};

impl StageSpec for BlockNode {
    fn node(&self) -> StageNode {
        StageNode::Block(Box::new(self.clone()))
    }

    fn build(&self, loader: &Loader<'_>) -> Result<Box<dyn Stage>, StageError> {
        Ok(Box::new(Block {
            index: self.index,
            attention_norm: Norm::load(&self.attention_norm, loader)?,
            attention: SelfAttention::load(&self.attention, loader)?,
            mlp_norm: Norm::load(&self.mlp_norm, loader)?,
            mlp: Mlp::load(&self.mlp, loader)?,
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
                if tap.done() {
                    return x;
                }
                let normed = self.mlp_norm.seen(x.clone(), tap);
                x + self.mlp.forward(normed, tap)
            }
            NormPlacement::AfterResidual => {
                let x = x.clone() + attend(x, tap);
                if tap.done() {
                    return x;
                }
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

    fn next(&self, hidden: Hidden, memory: &mut Memory) -> Result<Hidden, StageError> {
        let x = hidden.into_states(|| format!("block {}", self.index))?;
        Ok(Hidden::States(
            self.run(x, &mut NoTap, |x, _| self.attention.next(x, memory)),
        ))
    }
}
