//! One block of a decoder as a graph node.

use super::flavour::{Mlp, Order, Positions, QkNorm, Qkv, Slopes};
use super::shape::{Shape, chosen};
use crate::ModelError;
use quantizers::FloatType;
use quantizers::graph::{
    AttentionNode, BlockNode, FeedForwardNode, Gate, LinearNode, MlpNode, NormPlacement, QkvLayout,
    QkvNode, QueryKeyNorm, SlopesNode, TensorSpec,
};

impl Shape<'_> {
    /// Block `index`.
    pub(super) fn block(&self, index: usize) -> Result<BlockNode, ModelError> {
        let block = self.named(&format!("{}.{index}", self.flavour.names.blocks));
        let wiring = self.wiring;
        let norm = |name: &str| (!name.is_empty()).then(|| self.norm(format!("{block}.{name}")));
        Ok(BlockNode {
            index,
            attention_norm: norm(wiring.attention),
            attention: self.attention(&block, index)?,
            attention_output_norm: norm(wiring.attention_output),
            attention_scale: None,
            mlp_norm: norm(wiring.mlp),
            mlp: match self.experts_of(&block, index)? {
                Some(experts) => MlpNode::Experts(Box::new(experts)),
                None => MlpNode::Dense(self.feed_forward(&block)?),
            },
            mlp_output_norm: norm(wiring.mlp_output),
            mlp_scale: None,
            placement: match wiring.order {
                Order::AfterResidual => NormPlacement::AfterResidual,
                Order::Sequential | Order::Parallel => NormPlacement::Before,
            },
            parallel: wiring.order == Order::Parallel,
            repeated: false,
            residual_scale: self.residual_scale,
        })
    }

    fn linear(
        &self,
        block: &str,
        name: &str,
        [rows, cols]: [usize; 2],
        point: &str,
        bias: bool,
    ) -> LinearNode {
        let (name, point) = (format!("{block}.{name}"), format!("{block}.{point}"));
        let layer = LinearNode::in_block(name, rows, cols, point).with_bias(bias);
        if self.flavour.transposed {
            layer.conv1d()
        } else {
            layer
        }
    }

    fn attention(&self, block: &str, index: usize) -> Result<AttentionNode, ModelError> {
        let (names, biases) = (&self.flavour.names, &self.flavour.biases);
        let (queries, keys) = (self.heads * self.head_dim, self.kv_heads * self.head_dim);
        let bias = biases.qkv.holds(&self.config)?;
        let input = |name, rows| self.linear(block, name, [rows, self.width], "attn_in", bias);
        let fused = |layout| QkvNode::Fused {
            layer: input(names.qkv, queries + 2 * keys),
            layout,
        };
        let qkv = match self.flavour.qkv {
            _ if self.latent.is_some() => self.latent_projections(block, bias)?,
            Qkv::Separate => QkvNode::Separate {
                query: input(names.query, queries),
                key: input(names.key, keys),
                value: input(names.value, keys),
            },
            Qkv::Concatenated => fused(QkvLayout::Concatenated),
            Qkv::ByKeyValueHead => fused(QkvLayout::ByKeyValueHead),
        };
        let output_bias = biases.output.holds(&self.config)?;
        let values = self.heads * self.latent.map_or(self.head_dim, |latent| latent.value);
        let size = [self.width, values];
        let output = self.linear(block, names.output, size, "o_in", output_bias);
        let shape = &self.blocks[index];
        let qk_norm = chosen(self.flavour.qk_norm, &self.config)?.unwrap_or(QkNorm::None);
        let normed = |name: &str, heads| self.qk_norm(qk_norm, format!("{block}.{name}"), heads);
        Ok(AttentionNode {
            kv_heads: self.kv_heads,
            scale: self.factor(self.flavour.attention_scale, index)? * self.latent_magnitude()?,
            query_norm: normed(names.query_norm, self.heads),
            key_norm: normed(names.key_norm, self.kv_heads),
            norm_after_rope: matches!(qk_norm, QkNorm::HeadAfterRope(_)),
            rope: shape.rope.clone(),
            clip: self.clip,
            softcap: self.score_cap,
            slopes: self.slopes()?,
            sinks: (!self.flavour.sinks.is_empty()).then(|| {
                let name = format!("{block}.{}", self.flavour.sinks);
                TensorSpec::new(name, [self.heads])
            }),
            ..AttentionNode::new(qkv, output, self.heads, self.head_dim, shape.pattern)
        })
    }

    fn qk_norm(&self, kind: QkNorm, name: String, heads: usize) -> Option<QueryKeyNorm> {
        let width = self.head_dim;
        Some(match kind {
            QkNorm::None => return None,
            QkNorm::Head(style) | QkNorm::HeadAfterRope(style) => {
                QueryKeyNorm::Head(self.norm_of(style, name, width))
            }
            QkNorm::Joint(style) => QueryKeyNorm::Joint(self.norm_of(style, name, heads * width)),
            QkNorm::Stacked(style) => QueryKeyNorm::Stacked {
                weight: TensorSpec::new(format!("{name}.weight"), [heads, width]),
                norm: self.norm_of(style, name, width).without_parameters(),
            },
            QkNorm::Modules(style, list) => {
                let one = |head| self.norm_of(style, format!("{name}.{list}.{head}"), width);
                QueryKeyNorm::EachHead((0..heads).map(one).collect())
            }
        })
    }

    #[expect(clippy::cast_possible_truncation, reason = "scores are f32")]
    fn slopes(&self) -> Result<Option<SlopesNode>, ModelError> {
        let kind = match self.flavour.positions {
            Positions::Slopes(kind) => kind,
            Positions::SlopesIf(flag, kind, _) if flag.holds(&self.config)? => kind,
            _ => return Ok(None),
        };
        Ok(Some(match kind {
            Slopes::Plain => SlopesNode::published(self.heads, 8.0, true),
            Slopes::HigherPower => {
                let steepest = self.config.positive_or("attn_config.alibi_bias_max", 8.0)?;
                SlopesNode::published(self.heads, steepest, false)
            }
            Slopes::RoundedAndScaled => {
                let mut slopes = SlopesNode::published(self.heads, 8.0, true);
                for slope in &mut slopes.slopes {
                    *slope = FloatType::Bf16.round(*slope);
                }
                slopes.rounded = FloatType::Bf16;
                slopes.factor = (self.head_dim as f64).sqrt().recip() as f32;
                slopes
            }
        }))
    }

    fn feed_forward(&self, block: &str) -> Result<FeedForwardNode, ModelError> {
        let names = &self.flavour.names;
        let bias = self.flavour.biases.mlp.holds(&self.config)?;
        let input = |name, rows| self.linear(block, name, [rows, self.width], "mlp_in", bias);
        let down = self.linear(block, names.down, [self.width, self.inner], "down_in", bias);
        let (gate, up) = match self.flavour.mlp {
            Mlp::Plain => (Gate::None, input(names.up, self.inner)),
            Mlp::Gated => (
                Gate::Layer(input(names.gate, self.inner)),
                input(names.up, self.inner),
            ),
            Mlp::FusedGate => (Gate::FirstHalf, input(names.up, 2 * self.inner)),
        };
        Ok(FeedForwardNode {
            gate,
            up,
            down,
            activation: self.activation,
        })
    }
}
