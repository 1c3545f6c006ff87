//! Multi-head self-attention with its projections, as all families share it.

mod begin;
mod next;

use super::alibi::Alibi;
use super::attention::{Scores, attend, attend_with};
use super::disentangled::Disentangled;
use super::distance::Bias;
use super::heads::Heads;
use super::latent::Latent;
use super::linear::Linear;
use super::query_key_norm::QueryKeyNorm;
use super::rope::{CachedRope, RopeTables};
use super::windows::{self, Windows};
use super::{Loader, Rope};
use crate::attention_policy::{Attending, AttentionPolicy};
use crate::{SourceError, StageError, Tap};
use burn::tensor::{Device, Tensor};
use quantizers::graph::{AttentionNode, DistanceNode, Pattern, QkvLayout, QkvNode};
use std::sync::Arc;

#[derive(Debug, Clone)]
enum Qkv {
    /// Queries, keys, values.
    Separate(Box<[Linear; 3]>),
    Fused(Box<Linear>, QkvLayout),
    Latent(Box<Latent>),
}

/// Keys and values `[batch, kv_heads, tokens, dim]`.
struct NewHeads {
    unrotated: Tensor<4>,
    key: Tensor<4>,
    value: Tensor<4>,
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
    heads: Heads,
    clip: Option<f64>,
    windows: Option<Windows>,
    scores: Scores,
    distance: Distance,
    /// Number of the block, for the policy.
    block: usize,
    policy: Option<Arc<dyn AttentionPolicy>>,
    device: Device,
}

impl SelfAttention {
    /// Reads the layers of `node` in block `block`.
    ///
    /// # Errors
    /// A missing tensor or one of another shape.
    pub fn load(
        node: &AttentionNode,
        block: usize,
        loader: &Loader<'_>,
    ) -> Result<Self, SourceError> {
        let norm = |node: &Option<quantizers::graph::QueryKeyNorm>| {
            let node = node.as_ref();
            node.map(|node| QueryKeyNorm::load(node, loader))
                .transpose()
        };
        let rope = node
            .rope
            .as_ref()
            .map(|rope| CachedRope::shared(Rope::new(rope), loader.device()));
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
            block,
            device: device.clone(),
            policy: None,
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
            heads: Heads {
                query: node.heads,
                key_value: node.kv_heads,
                dim: node.head_dim,
            },
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

    /// Attends by `policy` in [`Self::forward`] from now on.
    pub fn attend_by(&mut self, policy: Arc<dyn AttentionPolicy>) {
        self.policy = Some(policy);
    }

    /// `[batch, tokens, width]` to the same shape, before the residual is added.
    ///
    /// # Errors
    /// Those of the policy, where there is one.
    pub fn forward(&self, input: Tensor<3>, tap: &mut dyn Tap) -> Result<Tensor<3>, StageError> {
        let tokens = input.dims()[1];
        let (distance, [query, key, value]) = match &self.distance {
            Distance::None => (None, self.projected(input, tap)),
            Distance::Bias(bias) => (Some(bias.scores(tokens)), self.projected(input, tap)),
            Distance::Disentangled(vectors) => {
                let (distance, heads) = self.disentangled(vectors, input, tap);
                (Some(distance), heads)
            }
        };
        let tables = self.rope.as_ref().map(|rope| rope.tables(tokens, tokens));
        let query = self.placed(query, self.query_norm.as_ref(), tables.as_ref());
        let key = self.before_rotation(key, self.key_norm.as_ref());
        let [key, value] = tap.pass_key_value([key, value]);
        if let Some(policy) = &self.policy
            && distance.is_none()
            && self.windows.is_none()
        {
            let new = self.new_tokens(key, value, tables.as_ref());
            let attended = policy.attend(self.attending(query, new, tables))?;
            return Ok(self.joined(attended, tap));
        }
        let key_norm = self.norm_after(self.key_norm.as_ref());
        let key = rotated(key, tables.as_ref(), key_norm);
        let attended = match &self.windows {
            Some(windows) => {
                let [query, key, value] = [query, key, value].map(|x| windows.cut(x));
                windows.joined(attend(query, key, value, &self.scores))
            }
            None => attend_with(query, key, value, &self.scores, distance),
        };
        Ok(self.joined(attended, tap))
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
        let heads = projected
            .tokens
            .map(|x| self.heads.split(x, self.heads.query));
        let [key, query] = projected
            .distances
            .map(|x| x.map(|x| self.heads.split(x, self.heads.query)));
        let scores = vectors.scores([&heads[0], &heads[1]], key, query, tokens);
        (scores * self.scores.scale, heads)
    }

    /// Keys, not yet rotated, and values of the next tokens.
    fn new_tokens(
        &self,
        unrotated: Tensor<4>,
        value: Tensor<4>,
        tables: Option<&RopeTables>,
    ) -> NewHeads {
        let norm = self.norm_after(self.key_norm.as_ref());
        NewHeads {
            key: rotated(unrotated.clone(), tables, norm),
            unrotated,
            value,
        }
    }

    /// What a policy is given of whole sequences, queries rotated.
    fn attending(&self, query: Tensor<4>, new: NewHeads, tables: Option<RopeTables>) -> Attending {
        let norm = self.norm_after(self.key_norm.as_ref()).cloned();
        Attending {
            block: self.block,
            query,
            key: new.key,
            unrotated: new.unrotated,
            rotate: Arc::new(move |x| rotated(x, tables.as_ref(), norm.as_ref())),
            value: new.value,
            scores: self.scores.clone(),
        }
    }

    /// How many of the last tokens a token sees.
    fn window(&self) -> usize {
        match self.scores.pattern {
            Pattern::Full | Pattern::Causal | Pattern::Local { .. } => usize::MAX,
            Pattern::Sliding { window } => window,
        }
    }

    /// Queries, keys and values `[batch, heads, tokens, head_dim]`, not yet normalised or rotated, values clamped.
    fn projected(&self, input: Tensor<3>, tap: &mut dyn Tap) -> [Tensor<4>; 3] {
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
                self.heads.apart(all, *layout)
            }
        };
        [
            self.heads.split(query, self.heads.query),
            self.heads.split(key, self.heads.key_value),
            self.clipped(self.heads.split(value, self.heads.key_value)),
        ]
    }

    fn clipped(&self, x: Tensor<4>) -> Tensor<4> {
        match self.clip {
            Some(most) => x.clamp(-most, most),
            None => x,
        }
    }

    /// Queries or keys normalised, clamped and rotated.
    fn placed(
        &self,
        x: Tensor<4>,
        norm: Option<&QueryKeyNorm>,
        tables: Option<&RopeTables>,
    ) -> Tensor<4> {
        let x = self.before_rotation(x, norm);
        rotated(x, tables, self.norm_after(norm))
    }

    /// The norm that comes after the rotation, if it does.
    fn norm_after<'n>(&self, norm: Option<&'n QueryKeyNorm>) -> Option<&'n QueryKeyNorm> {
        norm.filter(|_| self.norm_after_rope)
    }

    /// What happens to queries or keys before they are rotated.
    fn before_rotation(&self, x: Tensor<4>, norm: Option<&QueryKeyNorm>) -> Tensor<4> {
        match norm {
            Some(norm) if !self.norm_after_rope => self.clipped(norm.forward(x)),
            _ => self.clipped(x),
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
}

/// Queries or keys at their positions, normalised by `norm` after that.
fn rotated(x: Tensor<4>, tables: Option<&RopeTables>, norm: Option<&QueryKeyNorm>) -> Tensor<4> {
    let x = match tables {
        Some(tables) => tables.rotate(x),
        None => x,
    };
    match norm {
        Some(norm) => norm.forward(x),
        None => x,
    }
}
