//! Rotary parameters from config.json, in the style of transformers 5 (`rope_parameters`) or 4
//! (`rope_theta` beside `rope_scaling`, whose kind is `rope_type` or `type`).

use super::flavour::{Flag, LocalRope, Rope, RopeBlocks};
use crate::ModelError;
use crate::architectures::Config;
use quantizers::graph::{RopeNode, RopeScaling};
use serde_json::Value;

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
    "attention_factor",
    "beta_fast",
    "beta_slow",
    "mscale",
    "mscale_all_dim",
    "truncate",
    "short_factor",
    "long_factor",
    "short_mscale",
    "long_mscale",
    "alpha",
];

/// How blocks rotate: those that see everything, and those with a window where they differ.
pub(super) struct Rotation {
    pub(super) full: RopeNode,
    pub(super) local: Option<RopeNode>,
}

/// The rotary parameters of a model.
pub(super) fn rotation(
    config: &Config<'_>,
    rope: &Rope,
    head_dim: usize,
    max_positions: usize,
) -> Result<Rotation, ModelError> {
    let reader = Reader {
        config,
        rope,
        head_dim,
        max_positions,
    };
    let both = match config.object("rope_parameters")? {
        Some(parameters) => Some((
            parameters.object("full_attention")?,
            parameters.object("sliding_attention")?,
        )),
        None => None,
    };
    if let Some((full, local)) = both
        && (full.is_some() || local.is_some())
    {
        let full = match full {
            Some(parameters) => reader.read(parameters, rope.theta.1)?,
            None => reader.unscaled(rope.theta.1)?,
        };
        let local_theta = local_theta(config, rope, f64::from(full.theta))?;
        let local = match local {
            Some(parameters) => reader.read(parameters, local_theta)?,
            None => reader.unscaled(local_theta)?,
        };
        return Ok(Rotation {
            full,
            local: Some(local),
        });
    }
    let (key, default) = rope.theta;
    let theta = match config.optional_positive("rope_theta")? {
        Some(theta) => theta,
        None => config.positive_or(key, default)?,
    };
    let parameters = match config.object("rope_scaling")? {
        Some(scaling) => Some(scaling),
        None => config.object("rope_parameters")?,
    };
    let full = match parameters {
        Some(parameters) => reader.read(parameters, theta)?,
        None => reader.unscaled(theta)?,
    };
    let local = match rope.local {
        Some(_) => {
            let theta = local_theta(config, rope, f64::from(full.theta))?;
            Some(reader.unscaled(theta)?)
        }
        None => None,
    };
    Ok(Rotation { full, local })
}

/// The same of an encoder whose bases, of blocks that see everything and of the others, stand under these
/// keys in older files.
pub(in crate::architectures) fn encoder_rotation(
    config: &Config<'_>,
    theta: (&'static str, f64),
    local: Option<(&'static str, f64)>,
    head_dim: usize,
    max_positions: usize,
) -> Result<[RopeNode; 2], ModelError> {
    let rope = Rope {
        interleaved: Flag::No,
        theta,
        share: ("partial_rotary_factor", 1.0),
        channels: None,
        blocks: RopeBlocks::All,
        local: local.map(|theta| LocalRope { theta }),
        yarn_is_long: false,
    };
    let Rotation { full, local } = rotation(config, &rope, head_dim, max_positions)?;
    let local = local.unwrap_or_else(|| full.clone());
    Ok([full, local])
}

/// The base of blocks with a window in files that name one for each.
fn local_theta(config: &Config<'_>, rope: &Rope, full: f64) -> Result<f64, ModelError> {
    match rope.local {
        Some(local) if !local.theta.0.is_empty() => {
            config.positive_or(local.theta.0, local.theta.1)
        }
        _ => Ok(full),
    }
}

struct Reader<'a> {
    config: &'a Config<'a>,
    rope: &'a Rope,
    head_dim: usize,
    max_positions: usize,
}

impl Reader<'_> {
    fn unscaled(&self, theta: f64) -> Result<RopeNode, ModelError> {
        let (key, share) = self.rope.share;
        let share = self.config.positive_or(key, share)?;
        let share = self.config.positive_or("partial_rotary_factor", share)?;
        self.node(theta, share)
    }

    /// Rotation of a share of each head, unscaled.
    fn node(&self, theta: f64, share: f64) -> Result<RopeNode, ModelError> {
        let given = match self.rope.channels {
            Some(key) => self.config.optional_count(key)?,
            None => None,
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a head, rounded down as transformers does"
        )]
        let channels = given.unwrap_or((self.head_dim as f64 * share) as usize);
        if channels == self.head_dim && !channels.is_multiple_of(2) {
            return Err(self
                .config
                .error("head_dim", "an even number", &channels.to_string()));
        }
        if channels == 0 || channels > self.head_dim || !channels.is_multiple_of(2) {
            let expected = format!("an even number of channels up to {}", self.head_dim);
            return Err(self.config.error(
                "partial_rotary_factor",
                &expected,
                &channels.to_string(),
            ));
        }
        Ok(RopeNode {
            interleaved: self.rope.interleaved.holds(self.config)?,
            ..RopeNode::plain(narrow(theta), channels)
        })
    }

    fn read(&self, parameters: Config<'_>, theta: f64) -> Result<RopeNode, ModelError> {
        parameters.only_keys(ROPE_KEYS)?;
        let config = self.config;
        let theta = parameters.positive_or("rope_theta", theta)?;
        let (key, share) = self.rope.share;
        let share = config.positive_or("partial_rotary_factor", config.positive_or(key, share)?)?;
        let share = parameters.positive_or("partial_rotary_factor", share)?;
        let mut node = self.node(theta, share)?;
        let kind = parameters.text_or("rope_type", parameters.text_or("type", "default")?)?;
        let number = |key: &str| parameters.positive(key).map(narrow);
        // Files have the length of the pretraining beside or among the parameters.
        let key = "original_max_position_embeddings";
        let original = match parameters.optional_positive(key)? {
            Some(positions) => positions,
            None => config.positive_or(key, self.max_positions as f64)?,
        };
        match kind {
            "default" => {}
            "linear" => {
                node.scaling = RopeScaling::Linear {
                    factor: number("factor")?,
                };
            }
            "llama3" => {
                node.scaling = RopeScaling::Llama3 {
                    factor: number("factor")?,
                    low_frequency: number("low_freq_factor")?,
                    high_frequency: number("high_freq_factor")?,
                    original_positions: narrow(original),
                };
            }
            "dynamic" | "ntk_alpha" => Self::dynamic(&parameters, theta, &mut node)?,
            "yarn" if !self.rope.yarn_is_long => self.yarn(&parameters, original, &mut node)?,
            "longrope" | "su" | "yarn" => self.long(&parameters, original, &mut node)?,
            other => {
                return Err(parameters.error(
                    "rope_type",
                    "`default`, `linear`, `llama3`, `dynamic`, `yarn` or `longrope`",
                    &format!("`{other}`"),
                ));
            }
        }
        Ok(node)
    }

    /// With `alpha` a larger base; without it the base grows with sequences longer than the model's longest,
    /// which are refused here.
    fn dynamic(parameters: &Config<'_>, theta: f64, node: &mut RopeNode) -> Result<(), ModelError> {
        if let Some(alpha) = parameters.optional_positive("alpha")? {
            let channels = node.channels as f64;
            node.theta = narrow(theta * alpha.powf(channels / (channels - 2.0)));
        }
        Ok(())
    }

    fn yarn(
        &self,
        parameters: &Config<'_>,
        original: f64,
        node: &mut RopeNode,
    ) -> Result<(), ModelError> {
        let factor = match parameters.optional_positive("factor")? {
            Some(factor) => factor,
            None => self.max_positions as f64 / original,
        };
        let magnitude = |scale: f64| {
            if factor <= 1.0 {
                1.0
            } else {
                0.1 * scale * factor.ln() + 1.0
            }
        };
        let scales = (
            parameters.optional_positive("mscale")?,
            parameters.optional_positive("mscale_all_dim")?,
        );
        let inferred = match scales {
            (Some(one), Some(all)) => magnitude(one) / magnitude(all),
            _ => magnitude(1.0),
        };
        node.magnitude = narrow(parameters.positive_or("attention_factor", inferred)?);
        node.scaling = RopeScaling::Yarn {
            factor: narrow(factor),
            fast: narrow(parameters.positive_or("beta_fast", 32.0)?),
            slow: narrow(parameters.positive_or("beta_slow", 1.0)?),
            original_positions: narrow(original),
            truncate: parameters.flag_or("truncate", true)?,
        };
        Ok(())
    }

    fn long(
        &self,
        parameters: &Config<'_>,
        original: f64,
        node: &mut RopeNode,
    ) -> Result<(), ModelError> {
        let pairs = node.channels / 2;
        let divisors = |key: &str| -> Result<Vec<f32>, ModelError> {
            let list = parameters.get(key).unwrap_or(&Value::Null);
            let values = list.as_array().map_or(&[][..], Vec::as_slice);
            let numbers = values
                .iter()
                .filter_map(Value::as_f64)
                .filter(|divisor| divisor.is_finite() && *divisor > 0.0);
            let numbers: Vec<f32> = numbers.map(narrow).collect();
            if numbers.len() != pairs || values.len() != pairs {
                let expected = format!("a list of {pairs} positive numbers");
                return Err(parameters.refuse(key, &expected, list));
            }
            Ok(numbers)
        };
        let factor = match parameters.optional_positive("factor")? {
            Some(factor) => factor,
            None => self.max_positions as f64 / original,
        };
        let inferred = if factor <= 1.0 {
            1.0
        } else {
            (1.0 + factor.ln() / original.ln()).sqrt()
        };
        node.magnitude = narrow(parameters.positive_or("attention_factor", inferred)?);
        // Phi-3.5-MoE names the magnitude of short and of long sequences, which are the same.
        if let Some(short) = parameters.optional_positive("short_mscale")? {
            let long = parameters.positive_or("long_mscale", short)?;
            if short.total_cmp(&long).is_ne() {
                let found = long.to_string();
                return Err(parameters.error("long_mscale", &format!("{short}"), &found));
            }
            node.magnitude = narrow(short);
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a number of positions"
        )]
        let original_positions = original as usize;
        node.scaling = RopeScaling::Long {
            short: divisors("short_factor")?,
            long: divisors("long_factor")?,
            original_positions,
        };
        Ok(())
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "rotary arithmetic is f32 in transformers"
)]
fn narrow(value: f64) -> f32 {
    value as f32
}
