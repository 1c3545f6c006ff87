//! Multi-head self-attention with its projections, as all families share it.

use super::attention::attend;
use super::linear::Linear;
use super::norm::Norm;
use super::rope::CachedRope;
use super::{Inventory, LinearSpec, Loader, NormSpec, Pattern, Rope};
use crate::encoder_graph::Inexpressible;
use crate::{KeyValueCache, NoTap, SourceError, Tap};
use burn::tensor::Tensor;
use std::sync::Arc;

/// The projections to queries, keys and values.
#[derive(Debug, Clone, PartialEq)]
pub enum QkvSpec {
    /// Three layers over one input.
    Separate {
        /// `[heads · head_dim, width]`.
        query: LinearSpec,
        /// `[kv_heads · head_dim, width]`.
        key: LinearSpec,
        /// `[kv_heads · head_dim, width]`.
        value: LinearSpec,
    },
    /// One layer whose output is queries, then keys, then values.
    Fused(LinearSpec),
}

/// What self-attention reads.
#[derive(Debug, Clone, PartialEq)]
pub struct SelfAttentionSpec {
    /// Projections of the input.
    pub qkv: QkvSpec,
    /// Projection of the attended values.
    pub output: LinearSpec,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
    /// Who sees whom.
    pub pattern: Pattern,
    /// Factor on `Q Kᵀ`.
    pub scale: f64,
    /// Normalisation of each query head.
    pub query_norm: Option<NormSpec>,
    /// Normalisation of each key head.
    pub key_norm: Option<NormSpec>,
    /// Rotation of queries and keys.
    pub rope: Option<Rope>,
}

impl SelfAttentionSpec {
    /// Adds its layers and tensors to `inventory`.
    pub fn list(&self, inventory: &mut Inventory) {
        match &self.qkv {
            QkvSpec::Separate { query, key, value } => {
                for layer in [query, key, value] {
                    layer.list(inventory);
                }
            }
            QkvSpec::Fused(layer) => layer.list(inventory),
        }
        for norm in [&self.query_norm, &self.key_norm].into_iter().flatten() {
            norm.list_unseen(inventory);
        }
        self.output.list(inventory);
    }

    /// Queries, keys and values, if this is the attention an [`EncoderGraph`] can say.
    ///
    /// # Errors
    /// What it cannot say, by name.
    ///
    /// [`EncoderGraph`]: quantizers::integer::compile::EncoderGraph
    pub fn expressible(&self) -> Result<[&LinearSpec; 3], Inexpressible> {
        if self.pattern != Pattern::Full {
            return Err(Inexpressible("has causal attention"));
        }
        if self.rope.is_some() {
            return Err(Inexpressible("rotates queries and keys"));
        }
        if self.query_norm.is_some() || self.key_norm.is_some() {
            return Err(Inexpressible("normalises query and key heads"));
        }
        if self.kv_heads != self.heads {
            return Err(Inexpressible("shares key heads among query heads"));
        }
        match &self.qkv {
            QkvSpec::Separate { query, key, value } => Ok([query, key, value]),
            QkvSpec::Fused(_) => Err(Inexpressible(
                "projects queries, keys and values with one layer",
            )),
        }
    }

    /// Reads the layer.
    ///
    /// # Errors
    /// A missing tensor or one of another shape.
    pub fn load(&self, loader: &Loader<'_>) -> Result<SelfAttention, SourceError> {
        let norm = |spec: &Option<NormSpec>| spec.as_ref().map(|n| n.load(loader)).transpose();
        Ok(SelfAttention {
            qkv: match &self.qkv {
                QkvSpec::Separate { query, key, value } => Qkv::Separate(Box::new([
                    query.load(loader)?,
                    key.load(loader)?,
                    value.load(loader)?,
                ])),
                QkvSpec::Fused(layer) => Qkv::Fused(Box::new(layer.load(loader)?)),
            },
            output: self.output.load(loader)?,
            query_norm: norm(&self.query_norm)?,
            key_norm: norm(&self.key_norm)?,
            rope: self
                .rope
                .clone()
                .map(|rope| Arc::new(CachedRope::new(rope, loader.device().clone()))),
            heads: self.heads,
            kv_heads: self.kv_heads,
            head_dim: self.head_dim,
            pattern: self.pattern,
            scale: self.scale,
        })
    }
}

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

    /// The next token `[batch, 1, width]` after those in `cache`, which it joins.
    pub fn next(&self, input: Tensor<3>, cache: &mut KeyValueCache) -> Tensor<3> {
        let [query, key, value] = self.heads(input, &mut NoTap);
        let position = cache.tokens();
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
        let [keys, values] = cache.with_key_value(key, value, window);
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
