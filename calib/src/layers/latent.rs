//! Multi-head latent attention (DeepSeek-V2): keys and values of all heads made from one narrow vector.

use super::Loader;
use super::linear::Linear;
use super::norm::Norm;
use crate::{SourceError, Tap};
use burn::tensor::Tensor;
use quantizers::graph::{LatentNode, LatentQuery};

/// The projections with their weights.
#[derive(Debug, Clone)]
pub struct Latent {
    query: Query,
    compress: Linear,
    norm: Norm,
    expand: Linear,
    heads: usize,
    rank: usize,
    plain: usize,
    rotated: usize,
    value: usize,
}

#[expect(clippy::large_enum_variant, reason = "one per block")]
#[derive(Debug, Clone)]
enum Query {
    Direct(Linear),
    LowRank {
        down: Linear,
        norm: Norm,
        up: Linear,
    },
}

impl Latent {
    /// Reads the layers of `node`.
    ///
    /// # Errors
    /// A missing tensor or one of another shape.
    pub fn load(node: &LatentNode, heads: usize, loader: &Loader<'_>) -> Result<Self, SourceError> {
        Ok(Self {
            query: match &node.query {
                LatentQuery::Direct(layer) => Query::Direct(Linear::load(layer, loader)?),
                LatentQuery::LowRank { down, norm, up } => Query::LowRank {
                    down: Linear::load(down, loader)?,
                    norm: Norm::load(norm, loader)?,
                    up: Linear::load(up, loader)?,
                },
            },
            compress: Linear::load(&node.compress, loader)?,
            norm: Norm::load(&node.norm, loader)?,
            expand: Linear::load(&node.expand, loader)?,
            heads,
            rank: node.norm.width,
            plain: node.plain,
            rotated: node.rotated,
            value: node.value,
        })
    }

    /// Queries, keys `[batch, heads, tokens, rotated + plain]` and values `[batch, heads, tokens, value]` of
    /// `[batch, tokens, width]`, not yet rotated. The channels to rotate come first, in queries and keys alike,
    /// which leaves their products as they are.
    pub fn forward(&self, input: Tensor<3>, tap: &mut dyn Tap) -> [Tensor<4>; 3] {
        let [batch, tokens, _] = input.dims();
        let split = |x: Tensor<3>, width: usize| {
            x.reshape([batch, tokens, self.heads, width])
                .swap_dims(1, 2)
        };
        self.compress.observe(&input, tap);
        let query = match &self.query {
            Query::Direct(layer) | Query::LowRank { down: layer, .. } => {
                layer.forward(input.clone(), tap)
            }
        };
        let compressed = self.compress.forward(input, tap);
        let query = match &self.query {
            Query::Direct(_) => query,
            Query::LowRank { norm, up, .. } => {
                let narrow = norm.seen(query, tap);
                up.observe(&narrow, tap);
                up.forward(narrow, tap)
            }
        };
        let query = split(query, self.plain + self.rotated);
        let query = Tensor::cat(
            vec![
                query.clone().narrow(3, self.plain, self.rotated),
                query.narrow(3, 0, self.plain),
            ],
            3,
        );
        let shared = compressed.clone().narrow(2, self.rank, self.rotated);
        let shared = shared.reshape([batch, 1, tokens, self.rotated]).expand([
            batch,
            self.heads,
            tokens,
            self.rotated,
        ]);
        let latent = self.norm.seen(compressed.narrow(2, 0, self.rank), tap);
        self.expand.observe(&latent, tap);
        let expanded = split(self.expand.forward(latent, tap), self.plain + self.value);
        let key = Tensor::cat(vec![shared, expanded.clone().narrow(3, 0, self.plain)], 3);
        [query, key, expanded.narrow(3, self.plain, self.value)]
    }
}
