//! One learned query that attends to all positions (`SigLIP`), as the last step of a vision model.

use super::Loader;
use super::attention::{Scores, attend};
use super::linear::Linear;
use super::mlp::Mlp;
use super::norm::Norm;
use crate::{SourceError, Tap};
use burn::tensor::{Tensor, module};
use quantizers::graph::{Pattern, PoolingNode};

/// Attention pooling with its weights.
#[derive(Debug, Clone)]
pub struct AttentionPooling {
    /// `[1, heads, 1, head_dim]`: the query after its projection, the same for all images.
    query: Tensor<4>,
    /// Weight `[2 width, width]` and bias of keys and values.
    key_value: (Tensor<2>, Tensor<1>),
    heads: usize,
    output: Linear,
    norm: Norm,
    mlp: Mlp,
}

impl AttentionPooling {
    /// Reads the layers of `node`.
    ///
    /// # Errors
    /// A missing tensor or one of another shape.
    pub fn load(node: &PoolingNode, loader: &Loader<'_>) -> Result<Self, SourceError> {
        let probe = loader.read::<3>(&node.probe)?;
        let weight = loader.read::<2>(&node.projections)?;
        let bias = loader.read::<1>(&node.projection_bias)?;
        let width = probe.dims()[2];
        let heads = node.heads;
        let query = module::linear(
            probe,
            weight.clone().narrow(0, 0, width).transpose(),
            Some(bias.clone().narrow(0, 0, width)),
        );
        Ok(Self {
            query: query.reshape([1, heads, 1, width / heads]),
            key_value: (
                weight.narrow(0, width, 2 * width),
                bias.narrow(0, width, 2 * width),
            ),
            heads,
            output: Linear::load(&node.output, loader)?,
            norm: Norm::load(&node.norm, loader)?,
            mlp: Mlp::load(&node.mlp, loader)?,
        })
    }

    /// `[batch, tokens, width]` to `[batch, 1, width]`.
    pub fn forward(&self, x: Tensor<3>, tap: &mut dyn Tap) -> Tensor<3> {
        let [batch, tokens, width] = x.dims();
        let head_dim = width / self.heads;
        let (weight, bias) = &self.key_value;
        let both = module::linear(x, weight.clone().transpose(), Some(bias.clone()));
        let part = |from| {
            let one = both.clone().narrow(2, from, width);
            one.reshape([batch, tokens, self.heads, head_dim])
                .swap_dims(1, 2)
        };
        let query = self.query.clone().expand([batch, self.heads, 1, head_dim]);
        let scale = (head_dim as f64).sqrt().recip();
        let scores = Scores::plain(Pattern::Full, scale);
        let attended = attend(query, part(0), part(width), &scores);
        let attended = attended.swap_dims(1, 2).reshape([batch, 1, width]);
        self.output.observe(&attended, tap);
        let x = self.output.forward(attended, tap);
        let inner = self.norm.seen(x.clone(), tap);
        x + self.mlp.forward(inner, tap)
    }
}
