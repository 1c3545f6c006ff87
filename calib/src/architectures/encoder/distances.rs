//! Terms of attention scores for distances, as config.json sets them.

use super::flavour::Positions;
use super::shape::Shape;
use crate::ModelError;
use crate::architectures::Config;
use quantizers::graph::{
    DisentangledNode, DistanceBias, DistanceNode, LinearNode, PositionLayer, TensorSpec,
};
use serde_json::{Value, json};

/// Ranges of distances of MPNet, whatever its configuration says.
const BUCKETS: usize = 32;
/// Distances from this one on share the last of them.
const FARTHEST: usize = 128;

/// Settings of these terms.
pub(super) enum Distances {
    /// A number for each range and head.
    Bias,
    /// Products with vectors of distances.
    Disentangled {
        span: usize,
        buckets: Option<usize>,
        farthest: usize,
        normed: bool,
        /// By the layers of the tokens.
        shared: bool,
        keys: bool,
        queries: bool,
    },
}

/// Terms of disentangled attention: keys of distances, queries of distances.
fn terms(config: &Config<'_>) -> Result<[bool; 2], ModelError> {
    let key = "pos_att_type";
    let names: Vec<String> = match config.get(key) {
        None => Vec::new(),
        Some(Value::String(names)) => names
            .split('|')
            .map(|name| name.trim().to_lowercase())
            .collect(),
        Some(Value::Array(names)) => {
            let names = names.iter().filter_map(Value::as_str);
            names.map(str::to_owned).collect()
        }
        Some(other) => return Err(config.refuse(key, "a list of names", other)),
    };
    Ok(["c2p", "p2c"].map(|name| names.iter().any(|found| found == name)))
}

/// A count, where -1 says that there is none.
fn optional(config: &Config<'_>, key: &str) -> Result<Option<usize>, ModelError> {
    match config.get(key).and_then(Value::as_i64) {
        Some(..=0) => Ok(None),
        _ => config.optional_count(key),
    }
}

impl Distances {
    pub(super) fn read(
        positions: Positions,
        config: &Config<'_>,
    ) -> Result<Option<Self>, ModelError> {
        match positions {
            Positions::TableAndBias(_) => {
                config.only("relative_attention_num_buckets", &json!(BUCKETS))?;
                return Ok(Some(Self::Bias));
            }
            Positions::Disentangled => {}
            _ => return Ok(None),
        }
        if optional(config, "conv_kernel_size")?.is_some() {
            let found = config.count("conv_kernel_size")?.to_string();
            return Err(config.error("conv_kernel_size", "0", &found));
        }
        if !config.flag_or("relative_attention", false)? {
            return Ok(None);
        }
        let farthest = match optional(config, "max_relative_positions")? {
            Some(farthest) => farthest,
            None => config.count_or("max_position_embeddings", 512)?,
        };
        let buckets = optional(config, "position_buckets")?;
        if let Some(buckets @ ..4) = buckets {
            return Err(config.error("position_buckets", "at least 4", &buckets.to_string()));
        }
        let [keys, queries] = terms(config)?;
        let norms = config.text_or("norm_rel_ebd", "none")?.to_lowercase();
        Ok(Some(Self::Disentangled {
            span: buckets.unwrap_or(farthest),
            buckets,
            farthest,
            normed: norms.split('|').any(|name| name.trim() == "layer_norm"),
            shared: config.flag_or("share_att_key", false)?,
            keys,
            queries,
        }))
    }
}

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
        let norm = match normed {
            true => Some(self.norm(self.named("encoder.LayerNorm"), self.width)?),
            false => None,
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
