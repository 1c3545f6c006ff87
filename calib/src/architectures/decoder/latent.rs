//! The projections of latent attention as graph nodes.

use super::shape::Shape;
use crate::ModelError;
use quantizers::graph::{LatentNode, LatentQuery, LinearNode, NormNode, QkvNode};

/// Epsilon of the norms of narrow vectors, whatever `rms_norm_eps` says.
const EPSILON: f64 = 1e-6;

impl Shape<'_> {
    /// Projections of `block`; `bias` is that of the layers that read the states.
    pub(super) fn latent_projections(
        &self,
        block: &str,
        bias: bool,
    ) -> Result<QkvNode, ModelError> {
        let Some(latent) = self.latent else {
            return Err(self.config.error("kv_lora_rank", "a number", "nothing"));
        };
        let layer = |name: &str, rows, cols, point: &str| {
            let name = format!("{block}.self_attn.{name}");
            LinearNode::in_block(name, rows, cols, format!("{block}.{point}"))
        };
        let norm =
            |name: &str, width| NormNode::rms(format!("{block}.self_attn.{name}"), width, EPSILON);
        let queries = self.heads * latent.head_dim();
        let query = match latent.query_rank {
            None => LatentQuery::Direct(layer("q_proj", queries, self.width, "attn_in")),
            Some(rank) => LatentQuery::LowRank {
                down: layer("q_a_proj", rank, self.width, "attn_in").with_bias(bias),
                norm: norm("q_a_layernorm", rank),
                up: layer("q_b_proj", queries, rank, "query_latent_in"),
            },
        };
        let compressed = latent.rank + latent.rotated;
        let expanded = self.heads * (latent.plain + latent.value);
        Ok(QkvNode::Latent(Box::new(LatentNode {
            query,
            compress: layer("kv_a_proj_with_mqa", compressed, self.width, "attn_in")
                .with_bias(bias),
            norm: norm("kv_a_layernorm", latent.rank),
            expand: layer("kv_b_proj", expanded, latent.rank, "latent_in"),
            plain: latent.plain,
            rotated: latent.rotated,
            value: latent.value,
        })))
    }

    /// Factor on the scores of latent attention whose rotation is stretched: the square of `YaRN`'s magnitude
    /// with `mscale_all_dim`.
    pub(super) fn latent_magnitude(&self) -> Result<f64, ModelError> {
        if self.latent.is_none() {
            return Ok(1.0);
        }
        let config = &self.config;
        let parameters = match config.object("rope_scaling")? {
            Some(parameters) => Some(parameters),
            None => config.object("rope_parameters")?,
        };
        let Some(parameters) = parameters else {
            return Ok(1.0);
        };
        let kind = parameters.text_or("rope_type", parameters.text_or("type", "default")?)?;
        let scale = parameters.optional_positive("mscale_all_dim")?;
        let (Some(scale), true) = (scale, kind != "default") else {
            return Ok(1.0);
        };
        let factor = parameters.positive("factor")?;
        let magnitude = if factor <= 1.0 {
            1.0
        } else {
            0.1 * scale * factor.ln() + 1.0
        };
        Ok(magnitude * magnitude)
    }
}
