//! Multi-head self-attention with its projections, as all families share it.

use super::attention::attend;
use super::linear::Linear;
use super::norm::Norm;
use super::rope::CachedRope;
use super::{Loader, Rope};
use crate::{Memory, NoTap, SourceError, Tap};
use burn::tensor::Tensor;
use quantizers::graph::{AttentionNode, NormNode, Pattern, QkvNode};
use std::sync::Arc;

#[derive(Debug, Clone)]
enum Qkv {
    /// Queries, keys, values.
    Separate(Box<[Linear; 3]>),
    Fused(Box<Linear>),
}

/// Self-attention with its weights.
#[derive(Debug, Clone)]
pub struct SelfAttention {
    qkv: Qkv,
    output: Linear,
    query_norm: Option<Norm>,
    key_norm: Option<Norm>,
    rope: Option<Arc<CachedRope>>,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    pattern: Pattern,
    scale: f64,
}

impl SelfAttention {
    /// Reads the layers of `node`.
    ///
    /// # Errors
    /// A missing tensor or one of another shape.
    pub fn load(node: &AttentionNode, loader: &Loader<'_>) -> Result<Self, SourceError> {
        let norm = |node: &Option<NormNode>| {
            let node = node.as_ref();
            node.map(|node| Norm::load(node, loader)).transpose()
        };
        let rope = node.rope.map(|rope| {
            let rope = Rope::new(node.head_dim, rope);
            Arc::new(CachedRope::new(rope, loader.device().clone()))
        });
        Ok(Self {
            qkv: match &node.qkv {
                QkvNode::Separate { query, key, value } => Qkv::Separate(Box::new([
                    Linear::load(query, loader)?,
                    Linear::load(key, loader)?,
                    Linear::load(value, loader)?,
                ])),
                QkvNode::Fused(layer) => Qkv::Fused(Box::new(Linear::load(layer, loader)?)),
            },
            output: Linear::load(&node.output, loader)?,
            query_norm: norm(&node.query_norm)?,
            key_norm: norm(&node.key_norm)?,
            rope,
            heads: node.heads,
            kv_heads: node.kv_heads,
            head_dim: node.head_dim,
            pattern: node.pattern,
            scale: node.scale,
        })
    }

    /// `[batch, tokens, width]` to the same shape, before the residual is added.
    pub fn forward(&self, input: Tensor<3>, tap: &mut dyn Tap) -> Tensor<3> {
        let tokens = input.dims()[1];
        let [query, key, value] = self.heads(input, tap);
        let (query, key) = match &self.rope {
            Some(rope) => {
                let tables = rope.tables(tokens);
                (tables.rotate(query), tables.rotate(key))
            }
            None => (query, key),
        };
        self.joined(attend(query, key, value, self.pattern, self.scale), tap)
    }

    /// The next token `[batch, 1, width]` after those in `memory`, which it joins.
    pub fn next(&self, input: Tensor<3>, memory: &mut Memory) -> Tensor<3> {
        let [query, key, value] = self.heads(input, &mut NoTap);
        let position = memory.tokens();
        let (query, key) = match &self.rope {
            Some(rope) => {
                // Tables of a power of two: made anew a few times, not for every token.
                let tables = rope.tables((position + 1).next_power_of_two());
                let tables = tables.narrow(position, 1);
                (tables.rotate(query), tables.rotate(key))
            }
            None => (query, key),
        };
        let window = match self.pattern {
            Pattern::Full | Pattern::Causal => usize::MAX,
            Pattern::Sliding { window } => window,
        };
        let [keys, values] = memory.with_key_value(key, value, window);
        // What is remembered is what the token sees.
        let attended = attend(query, keys, values, Pattern::Full, self.scale);
        self.joined(attended, &mut NoTap)
    }

    /// Queries, keys and values `[batch, heads, tokens, head_dim]`, not yet rotated.
    fn heads(&self, input: Tensor<3>, tap: &mut dyn Tap) -> [Tensor<4>; 3] {
        let (query, key, value) = self.project(input, tap);
        let query = self.split_heads(query, self.heads);
        let key = self.split_heads(key, self.kv_heads);
        let value = self.split_heads(value, self.kv_heads);
        let query = self
            .query_norm
            .iter()
            .fold(query, |x, norm| norm.forward(x));
        let key = self.key_norm.iter().fold(key, |x, norm| norm.forward(x));
        [query, key, value]
    }

    /// The output projection of attended values `[batch, heads, tokens, head_dim]`.
    fn joined(&self, attended: Tensor<4>, tap: &mut dyn Tap) -> Tensor<3> {
        let [batch, _, tokens, _] = attended.dims();
        let attended =
            attended
                .swap_dims(1, 2)
                .reshape([batch, tokens, self.heads * self.head_dim]);
        self.output.observe(&attended, tap);
        self.output.forward(attended, tap)
    }

    fn project(&self, input: Tensor<3>, tap: &mut dyn Tap) -> (Tensor<3>, Tensor<3>, Tensor<3>) {
        match &self.qkv {
            Qkv::Separate(layers) => {
                let [query, key, value] = layers.as_ref();
                query.observe(&input, tap);
                (
                    query.forward(input.clone(), tap),
                    key.forward(input.clone(), tap),
                    value.forward(input, tap),
                )
            }
            Qkv::Fused(layer) => {
                layer.observe(&input, tap);
                let all = layer.forward(input, tap);
                let (queries, keys) = (self.heads * self.head_dim, self.kv_heads * self.head_dim);
                (
                    all.clone().narrow(2, 0, queries),
                    all.clone().narrow(2, queries, keys),
                    all.narrow(2, queries + keys, keys),
                )
            }
        }
    }

    /// `[batch, tokens, heads · head_dim]` to `[batch, heads, tokens, head_dim]`.
    fn split_heads(&self, x: Tensor<3>, heads: usize) -> Tensor<4> {
        let [batch, tokens, _] = x.dims();
        x.reshape([batch, tokens, heads, self.head_dim])
            .swap_dims(1, 2)
    }
}
