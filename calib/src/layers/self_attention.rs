//! Multi-head self-attention with its projections, as all families share it.

use super::alibi::Alibi;
use super::attention::{Scores, attend, attend_with};
use super::disentangled::Disentangled;
use super::distance::Bias;
use super::latent::Latent;
use super::linear::Linear;
use super::query_key_norm::QueryKeyNorm;
use super::rope::{CachedRope, RopeTables};
use super::windows::{self, Windows};
use super::{Loader, Rope};
use crate::{KeyValueCache, NoTap, SourceError, Tap};
use burn::tensor::Tensor;
use quantizers::graph::{AttentionNode, DistanceNode, Pattern, QkvLayout, QkvNode};
use std::sync::Arc;

#[derive(Debug, Clone)]
enum Qkv {
    /// Queries, keys, values.
    Separate(Box<[Linear; 3]>),
    Fused(Box<Linear>, QkvLayout),
    Latent(Box<Latent>),
}

#[expect(clippy::large_enum_variant, reason = "one per block")]
#[derive(Debug, Clone)]
enum Distance {
    None,
    Bias(Bias),
    Disentangled(Box<Disentangled>),
}

/// Self-attention with its weights.
#[derive(Debug, Clone)]
pub struct SelfAttention {
    qkv: Qkv,
    output: Linear,
    query_norm: Option<QueryKeyNorm>,
    key_norm: Option<QueryKeyNorm>,
    norm_after_rope: bool,
    rope: Option<Arc<CachedRope>>,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    clip: Option<f64>,
    windows: Option<Windows>,
    scores: Scores,
    distance: Distance,
}

impl SelfAttention {
    /// Reads the layers of `node`.
    ///
    /// # Errors
    /// A missing tensor or one of another shape.
    pub fn load(node: &AttentionNode, loader: &Loader<'_>) -> Result<Self, SourceError> {
        let norm = |node: &Option<quantizers::graph::QueryKeyNorm>| {
            let node = node.as_ref();
            node.map(|node| QueryKeyNorm::load(node, loader))
                .transpose()
        };
        let rope = node.rope.as_ref().map(|rope| {
            let rope = Rope::new(rope);
            Arc::new(CachedRope::new(rope, loader.device().clone()))
        });
        let device = loader.device();
        let windows = node.windows.as_ref();
        let bias = match &node.distance {
            Some(DistanceNode::Offsets(bias)) => Some(windows::position_bias(bias, loader)?),
            _ => None,
        };
        let bias = match (bias, windows.and_then(|node| windows::mask(node, device))) {
            (Some(bias), Some(mask)) => Some(bias + mask),
            (bias, mask) => bias.or(mask),
        };
        Ok(Self {
            qkv: match &node.qkv {
                QkvNode::Separate { query, key, value } => Qkv::Separate(Box::new([
                    Linear::load(query, loader)?,
                    Linear::load(key, loader)?,
                    Linear::load(value, loader)?,
                ])),
                QkvNode::Fused { layer, layout } => {
                    Qkv::Fused(Box::new(Linear::load(layer, loader)?), *layout)
                }
                QkvNode::Latent(latent) => {
                    Qkv::Latent(Box::new(Latent::load(latent, node.heads, loader)?))
                }
            },
            output: Linear::load(&node.output, loader)?,
            query_norm: norm(&node.query_norm)?,
            key_norm: norm(&node.key_norm)?,
            rope,
            heads: node.heads,
            kv_heads: node.kv_heads,
            head_dim: node.head_dim,
            norm_after_rope: node.norm_after_rope,
            clip: node.clip,
            distance: match &node.distance {
                // Grids are all of one size: what their offsets add is known beforehand.
                None | Some(DistanceNode::Offsets(_)) => Distance::None,
                Some(DistanceNode::Bias(bias)) => Distance::Bias(Bias::load(bias, loader)?),
                Some(DistanceNode::Disentangled(node)) => {
                    Distance::Disentangled(Box::new(Disentangled::load(node, loader)?))
                }
            },
            windows: windows.map(|node| Windows::new(node, device)),
            scores: Scores {
                pattern: node.pattern,
                scale: node.scale,
                softcap: node.softcap,
                alibi: node.slopes.as_ref().map(Alibi::new),
                sinks: node
                    .sinks
                    .as_ref()
                    .map(|sinks| loader.read(sinks))
                    .transpose()?,
                bias,
            },
        })
    }

    /// `[batch, tokens, width]` to the same shape, before the residual is added.
    pub fn forward(&self, input: Tensor<3>, tap: &mut dyn Tap) -> Tensor<3> {
        let tokens = input.dims()[1];
        let (distance, [query, key, value]) = match &self.distance {
            Distance::None => (None, self.heads(input, tap)),
            Distance::Bias(bias) => (Some(bias.scores(tokens)), self.heads(input, tap)),
            Distance::Disentangled(vectors) => {
                let (distance, heads) = self.disentangled(vectors, input, tap);
                (Some(distance), heads)
            }
        };
        let tables = self.rope.as_ref().map(|rope| rope.tables(tokens, tokens));
        let (query, key) = self.placed(query, key, tables.as_ref());
        let attended = match &self.windows {
            Some(windows) => {
                let [query, key, value] = [query, key, value].map(|x| windows.cut(x));
                windows.joined(attend(query, key, value, &self.scores))
            }
            None => attend_with(query, key, value, &self.scores, distance),
        };
        self.joined(attended, tap)
    }

    /// What distances add to scores, and queries, keys and values of the tokens.
    fn disentangled(
        &self,
        vectors: &Disentangled,
        input: Tensor<3>,
        tap: &mut dyn Tap,
    ) -> (Tensor<4>, [Tensor<4>; 3]) {
        let Qkv::Separate(layers) = &self.qkv else {
            unreachable!("encoders with vectors of distances have three layers")
        };
        let tokens = input.dims()[1];
        let projected = vectors.project(layers, input, tap);
        let heads = projected.tokens.map(|x| self.split_heads(x, self.heads));
        let [key, query] = projected
            .distances
            .map(|x| x.map(|x| self.split_heads(x, self.heads)));
        let scores = vectors.scores([&heads[0], &heads[1]], key, query, tokens);
        (scores * self.scores.scale, heads)
    }

    /// The next token `[batch, 1, width]` after those in `cache`, which it joins.
    pub fn next(&self, input: Tensor<3>, cache: &mut KeyValueCache) -> Tensor<3> {
        let [query, key, value] = self.heads(input, &mut NoTap);
        let position = cache.tokens();
        let tables = self.rope.as_ref().map(|rope| {
            // Tables of a power of two: made anew a few times, not for every token.
            let rows = (position + 1).next_power_of_two();
            rope.tables(rows, position + 1).narrow(position, 1)
        });
        let (query, key) = self.placed(query, key, tables.as_ref());
        let [keys, values] = cache.with_key_value(key, value, self.window());
        // What is remembered is what the token sees.
        let attended = attend(query, keys, values, &self.scores.of_last());
        self.joined(attended, &mut NoTap)
    }

    /// The first tokens `[batch, tokens, width]`, as [`Self::forward`] has them without distances, remembered in
    /// `cache`.
    pub fn begin(&self, input: Tensor<3>, cache: &mut KeyValueCache) -> Tensor<3> {
        let tokens = input.dims()[1];
        let [query, key, value] = self.heads(input, &mut NoTap);
        let tables = self.rope.as_ref().map(|rope| rope.tables(tokens, tokens));
        let (query, key) = self.placed(query, key, tables.as_ref());
        let _ = cache.with_key_value(key.clone(), value.clone(), self.window());
        let attended = attend(query, key, value, &self.scores);
        self.joined(attended, &mut NoTap)
    }

    /// How many of the last tokens a token sees.
    fn window(&self) -> usize {
        match self.scores.pattern {
            Pattern::Full | Pattern::Causal | Pattern::Local { .. } => usize::MAX,
            Pattern::Sliding { window } => window,
        }
    }

    /// Queries, keys and values `[batch, heads, tokens, head_dim]`, not yet normalised or rotated, values clamped.
    fn heads(&self, input: Tensor<3>, tap: &mut dyn Tap) -> [Tensor<4>; 3] {
        let [query, key, value] = match &self.qkv {
            Qkv::Latent(latent) => return latent.forward(input, tap),
            Qkv::Separate(layers) => {
                let [query, key, value] = layers.as_ref();
                query.observe(&input, tap);
                [
                    query.forward(input.clone(), tap),
                    key.forward(input.clone(), tap),
                    value.forward(input, tap),
                ]
            }
            Qkv::Fused(layer, layout) => {
                layer.observe(&input, tap);
                let all = layer.forward(input, tap);
                match layout {
                    QkvLayout::Concatenated => self.concatenated(all),
                    QkvLayout::ByKeyValueHead => self.by_key_value_head(all),
                }
            }
        };
        [
            self.split_heads(query, self.heads),
            self.split_heads(key, self.kv_heads),
            self.clipped(self.split_heads(value, self.kv_heads)),
        ]
    }

    fn clipped(&self, x: Tensor<4>) -> Tensor<4> {
        match self.clip {
            Some(most) => x.clamp(-most, most),
            None => x,
        }
    }

    /// Queries and keys normalised, clamped and rotated.
    fn placed(
        &self,
        query: Tensor<4>,
        key: Tensor<4>,
        tables: Option<&RopeTables>,
    ) -> (Tensor<4>, Tensor<4>) {
        let norm = |x: Tensor<4>, norm: &Option<QueryKeyNorm>| match norm {
            Some(norm) => norm.forward(x),
            None => x,
        };
        let rotate = |x: Tensor<4>| match tables {
            Some(tables) => tables.rotate(x),
            None => x,
        };
        if self.norm_after_rope {
            (
                norm(rotate(self.clipped(query)), &self.query_norm),
                norm(rotate(self.clipped(key)), &self.key_norm),
            )
        } else {
            (
                rotate(self.clipped(norm(query, &self.query_norm))),
                rotate(self.clipped(norm(key, &self.key_norm))),
            )
        }
    }

    /// The output projection of attended values `[batch, heads, tokens, head_dim]`.
    fn joined(&self, attended: Tensor<4>, tap: &mut dyn Tap) -> Tensor<3> {
        let [batch, heads, tokens, width] = attended.dims();
        let attended = attended
            .swap_dims(1, 2)
            .reshape([batch, tokens, heads * width]);
        self.output.observe(&attended, tap);
        self.output.forward(attended, tap)
    }

    /// Takes `[batch, tokens, (heads + 2 kv_heads) · head_dim]` apart.
    fn concatenated(&self, all: Tensor<3>) -> [Tensor<3>; 3] {
        let (queries, keys) = (self.heads * self.head_dim, self.kv_heads * self.head_dim);
        [
            all.clone().narrow(2, 0, queries),
            all.clone().narrow(2, queries, keys),
            all.narrow(2, queries + keys, keys),
        ]
    }

    /// Takes `[batch, tokens, kv_heads · (heads / kv_heads + 2) · head_dim]` apart.
    fn by_key_value_head(&self, all: Tensor<3>) -> [Tensor<3>; 3] {
        let [batch, tokens, _] = all.dims();
        let (kv_heads, width) = (self.kv_heads, self.head_dim);
        let queries = self.heads / kv_heads;
        let all = all.reshape([batch, tokens, kv_heads, queries + 2, width]);
        let part = |from: usize, count: usize| {
            all.clone()
                .narrow(3, from, count)
                .reshape([batch, tokens, kv_heads * count * width])
        };
        [part(0, queries), part(queries, 1), part(queries + 1, 1)]
    }

    /// `[batch, tokens, heads · head_dim]` to `[batch, heads, tokens, head_dim]`.
    fn split_heads(&self, x: Tensor<3>, heads: usize) -> Tensor<4> {
        let [batch, tokens, _] = x.dims();
        x.reshape([batch, tokens, heads, self.head_dim])
            .swap_dims(1, 2)
    }
}
