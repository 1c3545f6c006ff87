//! Settings of the terms of attention scores for distances.

use super::flavour::Positions;
use crate::ModelError;
use crate::architectures::Config;
use serde_json::{Value, json};

/// Ranges of distances of `MPNet`, whatever its configuration says.
pub(super) const BUCKETS: usize = 32;
/// Distances from this one on share the last of them.
pub(super) const FARTHEST: usize = 128;

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
pub(super) fn terms(config: &Config<'_>) -> Result<[bool; 2], ModelError> {
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
