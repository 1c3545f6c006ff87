//! Rotary parameters from config.json.

use super::Config;
use crate::ModelError;
use quantizers::graph::{RopeNode, RopeScaling};
use serde_json::json;

/// Keys of the rotary parameters that are understood.
const ROPE_KEYS: &[&str] = &[
    "rope_theta",
    "rope_type",
    "type",
    "factor",
    "low_freq_factor",
    "high_freq_factor",
    "original_max_position_embeddings",
    "partial_rotary_factor",
];

/// Rotary parameters in the style of transformers 5 (`rope_parameters`) or 4 (`rope_theta` beside
/// `rope_scaling`, whose kind is `rope_type` or `type`).
pub(super) fn rope(config: &Config<'_>, max_positions: usize) -> Result<RopeNode, ModelError> {
    config.only("partial_rotary_factor", &json!(1.0))?;
    let theta = config.positive_or("rope_theta", 10_000.0)?;
    let parameters = match config.object("rope_scaling")? {
        Some(scaling) => Some(scaling),
        None => config.object("rope_parameters")?,
    };
    let Some(parameters) = parameters else {
        return Ok(RopeNode {
            theta: narrow(theta),
            scaling: RopeScaling::None,
        });
    };
    parameters.only_keys(ROPE_KEYS)?;
    parameters.only("partial_rotary_factor", &json!(1.0))?;
    let theta = narrow(parameters.positive_or("rope_theta", theta)?);
    let kind = parameters.text_or("rope_type", parameters.text_or("type", "default")?)?;
    let number = |key: &str| parameters.positive(key).map(narrow);
    let scaling = match kind {
        "default" => RopeScaling::None,
        "linear" => RopeScaling::Linear {
            factor: number("factor")?,
        },
        "llama3" => RopeScaling::Llama3 {
            factor: number("factor")?,
            low_frequency: number("low_freq_factor")?,
            high_frequency: number("high_freq_factor")?,
            original_positions: narrow(
                match config.optional_positive("original_max_position_embeddings")? {
                    Some(positions) => positions,
                    None => parameters
                        .positive_or("original_max_position_embeddings", max_positions as f64)?,
                },
            ),
        },
        other => {
            return Err(parameters.error(
                "rope_type",
                "`default`, `linear` or `llama3`",
                &format!("`{other}`"),
            ));
        }
    };
    Ok(RopeNode { theta, scaling })
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "rotary arithmetic is f32 in transformers"
)]
fn narrow(value: f64) -> f32 {
    value as f32
}
