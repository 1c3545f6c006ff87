//! One block of an encoder as a graph node.

use super::flavour::{Mlp, Offsets, Qkv};
use super::shape::Shape;
use crate::ModelError;
use quantizers::graph::{
    AttentionNode, BlockNode, FeedForwardNode, Gate, LinearNode, MlpNode, NormPlacement, QkvNode,
};

impl Shape<'_> {
    /// Block `index`.
    pub(super) fn block(&self, index: usize) -> Result<BlockNode, ModelError> {
        let shape = &self.blocks[index];
        let block = self.named(&shape.name);
        let names = &self.flavour.names;
        let norm = |name: &str| self.norm(format!("{block}.{name}"), self.width);
        let node = BlockNode::new(
            index,
            norm(names.attention_norm)?,
            self.attention(&block, index)?,
            norm(names.mlp_norm)?,
            MlpNode::Dense(self.feed_forward(&block)?),
            if self.flavour.norm_first {
                NormPlacement::Before
            } else {
                NormPlacement::AfterResidual
            },
        );
        let first_has_none = self.flavour.norm_first && index == 0;
        Ok(BlockNode {
            attention_norm: node.attention_norm.filter(|_| !first_has_none),
            repeated: shape.repeated,
            ..node
        })
    }

    fn linear(
        &self,
        block: &str,
        name: &str,
        [rows, cols]: [usize; 2],
        point: &str,
        offsets: Offsets,
    ) -> Result<LinearNode, ModelError> {
        let (name, point) = (format!("{block}.{name}"), format!("{block}.{point}"));
        let layer = LinearNode::in_block(name, rows, cols, point);
        Ok(layer.with_bias(self.has(offsets)?))
    }

    fn attention(&self, block: &str, index: usize) -> Result<AttentionNode, ModelError> {
        let offsets = self.flavour.attention_offsets;
        let input =
            |name, rows, point| self.linear(block, name, [rows, self.width], point, offsets);
        // With the vectors of distances behind the tokens, queries and keys have an input of their own.
        let value_point = if self.shares_projections() {
            "value_in"
        } else {
            "attn_in"
        };
        let qkv = match self.flavour.qkv {
            Qkv::Separate([query, key, value]) => QkvNode::Separate {
                query: input(query, self.width, "attn_in")?,
                key: input(key, self.width, "attn_in")?,
                value: input(value, self.width, value_point)?,
            },
            Qkv::Fused(name) => QkvNode::concatenated(input(name, 3 * self.width, "attn_in")?),
        };
        let size = [self.width; 2];
        let output = self.linear(block, self.flavour.names.output, size, "o_in", offsets)?;
        let shape = &self.blocks[index];
        let channels = (self.head_dim * self.score_terms()?) as f64;
        Ok(AttentionNode {
            scale: channels.sqrt().recip(),
            rope: shape.rope.clone(),
            distance: self.distance(block)?,
            ..AttentionNode::new(qkv, output, self.heads, self.head_dim, shape.pattern)
        })
    }

    fn feed_forward(&self, block: &str) -> Result<FeedForwardNode, ModelError> {
        let offsets = self.flavour.mlp_offsets;
        let input = |name, rows| self.linear(block, name, [rows, self.width], "mlp_in", offsets);
        let (gate, up, down) = match self.flavour.mlp {
            Mlp::Plain([up, down]) => (Gate::None, input(up, self.inner)?, down),
            Mlp::Gated([gate, up, down]) => {
                let gate = Gate::Layer(input(gate, self.inner)?);
                (gate, input(up, self.inner)?, down)
            }
            Mlp::FusedGate([up, down]) => (Gate::FirstHalf, input(up, 2 * self.inner)?, down),
        };
        Ok(FeedForwardNode {
            gate,
            up,
            down: self.linear(block, down, [self.width, self.inner], "down_in", offsets)?,
            activation: self.activation,
        })
    }
}
