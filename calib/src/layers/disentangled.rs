//! Attention scores between tokens and learned vectors of distances (`DeBERTa`, He et al. 2021).

use super::Loader;
use super::distance::{bucket, square};
use super::linear::Linear;
use super::norm::Norm;
use crate::{SourceError, Tap};
use burn::tensor::{Int, Tensor};
use quantizers::graph::{DisentangledNode, PositionLayer};

#[expect(clippy::large_enum_variant, reason = "one per block")]
#[derive(Debug, Clone)]
enum Projection {
    None,
    /// By the layer of the tokens.
    Shared,
    Own(Linear),
}

/// Vectors of distances, and how they become keys and queries.
#[derive(Debug, Clone)]
pub struct Disentangled {
    /// `[1, 2 span, width]`, normalised.
    vectors: Tensor<3>,
    span: usize,
    buckets: Option<usize>,
    farthest: usize,
    key: Projection,
    query: Projection,
}

/// Tokens and distances after their projections, `[batch, positions, heads · head_dim]`.
pub(super) struct Projected {
    /// Queries, keys and values.
    pub(super) tokens: [Tensor<3>; 3],
    /// Keys and queries of distances.
    pub(super) distances: [Option<Tensor<3>>; 2],
}

impl Disentangled {
    /// Reads the table and the layers of `node`.
    ///
    /// # Errors
    /// A missing tensor or one of another shape.
    pub fn load(node: &DisentangledNode, loader: &Loader<'_>) -> Result<Self, SourceError> {
        let mut vectors: Tensor<2> = loader.read(&node.table)?;
        if let Some(norm) = &node.norm {
            vectors = Norm::load(norm, loader)?.forward(vectors);
        }
        let projection = |layer: &Option<PositionLayer>| -> Result<Projection, SourceError> {
            Ok(match layer {
                None => Projection::None,
                Some(PositionLayer::Shared) => Projection::Shared,
                Some(PositionLayer::Own(layer)) => Projection::Own(Linear::load(layer, loader)?),
            })
        };
        Ok(Self {
            vectors: vectors.unsqueeze(),
            span: node.span,
            buckets: node.buckets,
            farthest: node.farthest,
            key: projection(&node.key)?,
            query: projection(&node.query)?,
        })
    }

    /// Runs the layers of queries, keys and values over `input`. A layer that serves the distances too sees
    /// their vectors behind the tokens of each sequence: they are part of its input, for statistics and gradients.
    pub(super) fn project(
        &self,
        [query, key, value]: &[Linear; 3],
        input: Tensor<3>,
        tap: &mut dyn Tap,
    ) -> Projected {
        let [batch, tokens, width] = input.dims();
        let rows = self.vectors.dims()[1];
        let vectors = self.vectors.clone().expand([batch, rows, width]);
        let shared = [&self.query, &self.key].map(|it| matches!(it, Projection::Shared));
        if shared == [false, false] {
            query.observe(&input, tap);
            let tokens = [query, key, value].map(|layer| layer.forward(input.clone(), tap));
            let own = self.own(&vectors, tap);
            return Projected {
                tokens,
                distances: own,
            };
        }
        let both = Tensor::cat(vec![input.clone(), vectors], 1);
        query.observe(&both, tap);
        let apart = |x: Tensor<3>| [x.clone().narrow(1, 0, tokens), x.narrow(1, tokens, rows)];
        let [token_queries, queries] = apart(query.forward(both.clone(), tap));
        let [token_keys, keys] = apart(key.forward(both, tap));
        value.observe(&input, tap);
        let values = value.forward(input, tap);
        let [query_is_used, key_is_used] = shared;
        Projected {
            tokens: [token_queries, token_keys, values],
            distances: [
                key_is_used.then_some(keys),
                query_is_used.then_some(queries),
            ],
        }
    }

    /// Keys and queries of distances by layers of their own.
    fn own(&self, vectors: &Tensor<3>, tap: &mut dyn Tap) -> [Option<Tensor<3>>; 2] {
        let mut is_seen = false;
        [&self.key, &self.query].map(|projection| match projection {
            Projection::Own(layer) => {
                // They share an input point.
                if !is_seen {
                    layer.observe(vectors, tap);
                    is_seen = true;
                }
                Some(layer.forward(vectors.clone(), tap))
            }
            Projection::None | Projection::Shared => None,
        })
    }

    /// `[batch, heads, tokens, tokens]` of queries and keys of tokens with keys and queries of distances, before
    /// any factor.
    pub(super) fn scores(
        &self,
        [token_queries, token_keys]: [&Tensor<4>; 2],
        keys: Option<Tensor<4>>,
        queries: Option<Tensor<4>>,
        tokens: usize,
    ) -> Tensor<4> {
        let [batch, heads, _, _] = token_queries.dims();
        let device = token_queries.device();
        let chosen = |products: Tensor<4>, rows: Tensor<2, Int>| {
            let rows = rows.unsqueeze::<4>().expand([batch, heads, tokens, tokens]);
            products.gather(3, rows)
        };
        let mut sum = Tensor::zeros([batch, heads, tokens, tokens], &device);
        if let Some(keys) = keys {
            let products = token_queries.clone().matmul(keys.swap_dims(2, 3));
            let rows = square(tokens, |query, key| self.row(query, key, 1), &device);
            sum = sum + chosen(products, rows);
        }
        if let Some(queries) = queries {
            let products = token_keys.clone().matmul(queries.swap_dims(2, 3));
            let rows = square(tokens, |key, query| self.row(key, query, -1), &device);
            sum = sum + chosen(products, rows).swap_dims(2, 3);
        }
        sum
    }

    /// The row of the vector for `sign` times the distance from `to` up to `from`.
    fn row(&self, from: usize, to: usize, sign: isize) -> i64 {
        let distance = bucket(
            from.cast_signed() - to.cast_signed(),
            self.buckets,
            self.farthest,
        );
        let last = (2 * self.span).cast_signed() - 1;
        (sign * distance + self.span.cast_signed()).clamp(0, last) as i64
    }
}
