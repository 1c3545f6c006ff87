//! Terms of attention scores for distances, as graph nodes.

use super::distance_settings::{BUCKETS, Distances, FARTHEST, terms};
use super::flavour::Positions;
use super::shape::Shape;
use crate::ModelError;
use quantizers::graph::{
    DisentangledNode, DistanceBias, DistanceNode, LinearNode, PositionLayer, TensorSpec,
};

impl Shape<'_> {
    /// What the number of terms divides scores by, squared, for each channel of a head.
    pub(super) fn score_terms(&self) -> Result<usize, ModelError> {
        if self.flavour.positions != Positions::Disentangled {
            return Ok(1);
        }
        let found = terms(&self.config)?.map(usize::from);
        Ok(1 + found.iter().sum::<usize>())
    }

    /// The terms of the block `block`.
    pub(super) fn distance(&self, block: &str) -> Result<Option<DistanceNode>, ModelError> {
        let (span, buckets, farthest, normed, shared, keys, queries) = match self.distances {
            None => return Ok(None),
            Some(Distances::Bias) => {
                let name = self.named("encoder.relative_attention_bias.weight");
                return Ok(Some(DistanceNode::Bias(DistanceBias {
                    table: TensorSpec::new(name, [BUCKETS, self.heads]),
                    buckets: BUCKETS,
                    farthest: FARTHEST,
                })));
            }
            Some(Distances::Disentangled {
                span,
                buckets,
                farthest,
                normed,
                shared,
                keys,
                queries,
            }) => (span, buckets, farthest, normed, shared, keys, queries),
        };
        let layer = |name: &str| {
            if shared {
                return PositionLayer::Shared;
            }
            let name = format!("{block}.attention.self.{name}");
            let point = format!("{block}.distance_in");
            let layer = LinearNode::in_block(name, self.heads * self.head_dim, self.width, point);
            PositionLayer::Own(layer.with_bias(true))
        };
        let norm = if normed {
            Some(self.norm(self.named("encoder.LayerNorm"), self.width)?)
        } else {
            None
        };
        let name = self.named("encoder.rel_embeddings.weight");
        Ok(Some(DistanceNode::Disentangled(Box::new(
            DisentangledNode {
                table: TensorSpec::new(name, [2 * span, self.width]),
                norm,
                span,
                buckets,
                farthest,
                key: keys.then(|| layer("pos_key_proj")),
                query: queries.then(|| layer("pos_query_proj")),
            },
        ))))
    }

    /// Whether the layers of queries and keys serve the distances too.
    pub(super) fn shares_projections(&self) -> bool {
        matches!(
            self.distances,
            Some(Distances::Disentangled {
                shared: true,
                keys,
                queries,
                ..
            }) if keys || queries
        )
    }
}
