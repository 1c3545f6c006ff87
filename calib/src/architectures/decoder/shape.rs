//! What config.json says, read by the columns of a row.

use super::flavour::{Cases, Count, Derived, Factor, Flag, Flavour, HeadWidth, NormStyle, Wiring};
use super::place::Place;
use super::windows::{self, BlockShape};
use super::{Head, block_count};
use crate::architectures::{Config, divided};
use crate::{ModelError, WeightSource};
use quantizers::graph::{Activation, NormKind, NormNode, NormParameters};
use serde_json::json;

/// Everything that decides the mathematics of one model.
pub(super) struct Shape<'a> {
    pub(super) flavour: &'a Flavour,
    pub(super) config: Config<'a>,
    pub(super) place: Place,
    pub(super) width: usize,
    pub(super) word_width: usize,
    pub(super) inner: usize,
    pub(super) latent: Option<Latent>,
    pub(super) heads: usize,
    pub(super) kv_heads: usize,
    pub(super) head_dim: usize,
    pub(super) vocabulary: usize,
    pub(super) max_positions: usize,
    pub(super) epsilon: f64,
    pub(super) activation: Activation,
    pub(super) wiring: Wiring,
    /// One for each block.
    pub(super) blocks: Vec<BlockShape>,
    pub(super) has_last_norm: bool,
    pub(super) head: Head,
    pub(super) head_bias: bool,
    pub(super) embedding_scale: f64,
    pub(super) residual_scale: f64,
    pub(super) logit_scale: f64,
    pub(super) score_cap: Option<f64>,
    pub(super) logit_cap: Option<f64>,
    pub(super) clip: Option<f64>,
}

/// Widths of latent attention.
#[derive(Debug, Clone, Copy)]
pub(super) struct Latent {
    /// Of the vector queries are made from, where there is one.
    pub(super) query_rank: Option<usize>,
    /// Of the vector keys and values are made from.
    pub(super) rank: usize,
    /// Channels of a head that are not rotated.
    pub(super) plain: usize,
    /// Channels of a head that are.
    pub(super) rotated: usize,
    /// Channels of a value.
    pub(super) value: usize,
}

impl Latent {
    fn read(config: &Config<'_>) -> Result<Self, ModelError> {
        let query_rank = if config.mentions("q_lora_rank") {
            config.optional_count("q_lora_rank")?
        } else {
            Some(1536)
        };
        Ok(Self {
            query_rank,
            rank: config.count_or("kv_lora_rank", 512)?,
            plain: config.count_or("qk_nope_head_dim", 128)?,
            rotated: config.count_or("qk_rope_head_dim", 64)?,
            value: config.count_or("v_head_dim", 128)?,
        })
    }

    /// Channels of queries and keys.
    pub(super) fn head_dim(self) -> usize {
        self.plain + self.rotated
    }
}

impl Flag {
    /// Whether the condition holds.
    pub(super) fn holds(self, config: &Config<'_>) -> Result<bool, ModelError> {
        match self {
            Self::Yes => Ok(true),
            Self::No => Ok(false),
            Self::Key(key, default) => config.flag_or(key, default),
            Self::Not(key, default) => Ok(!config.flag_or(key, default)?),
            Self::Count(key, value, default) => Ok(config.whole_or(key, default)? == value),
            Self::Text(key, value) => Ok(config.text_or(key, "")? == value),
            Self::All(all) => {
                for flag in all {
                    if !flag.holds(config)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
        }
    }
}

/// The first case whose condition holds.
pub(super) fn chosen<T: Copy>(
    cases: Cases<T>,
    config: &Config<'_>,
) -> Result<Option<T>, ModelError> {
    for (flag, value) in cases {
        if flag.holds(config)? {
            return Ok(Some(*value));
        }
    }
    Ok(None)
}

impl Count {
    /// The key that is read: the first one the file has, else the first.
    fn key(self, config: &Config<'_>) -> &'static str {
        let present = self.0.iter().find(|key| config.get(key).is_some());
        present.or(self.0.first()).copied().unwrap_or_default()
    }

    pub(super) fn read(self, config: &Config<'_>) -> Result<usize, ModelError> {
        let key = self.key(config);
        match self.1 {
            Some(default) => config.count_or(key, default),
            None => config.count(key),
        }
    }
}

impl Derived {
    fn read(self, config: &Config<'_>, heads: usize) -> Result<usize, ModelError> {
        match self {
            Self::Fixed(count) => Ok(count),
            Self::Heads => Ok(heads),
            Self::KeyOr(key, default) if !config.mentions(key) => Ok(default),
            Self::Key(key) | Self::KeyOr(key, _) => config.count_or(key, heads),
        }
    }
}

impl<'a> Shape<'a> {
    pub(super) fn read(
        flavour: &'a Flavour,
        config: Config<'a>,
        place: Place,
        weights: &dyn WeightSource,
    ) -> Result<Self, ModelError> {
        let keys = &flavour.keys;
        for (key, value) in keys.only {
            config.only(key, &json!(value))?;
        }
        let width = keys.width.read(&config)?;
        let heads = keys.heads.read(&config)?;
        let (heads_key, width_key) = (keys.heads.key(&config), keys.width.key(&config));
        let derived = chosen(keys.kv_heads, &config)?.unwrap_or(Derived::Heads);
        let kv_heads = derived.read(&config, heads)?;
        let kv_key = match derived {
            Derived::Key(key) | Derived::KeyOr(key, _) => key,
            Derived::Heads | Derived::Fixed(_) => heads_key,
        };
        divided(&config, kv_key, kv_heads, heads, heads_key)?;
        let latent = if flavour.latent {
            Some(Latent::read(&config)?)
        } else {
            None
        };
        let head_dim = match (config.optional_count("head_dim")?, flavour.head_dim) {
            _ if latent.is_some() => latent.map_or(0, Latent::head_dim),
            (Some(head_dim), _) | (None, HeadWidth::Or(head_dim)) => head_dim,
            (None, HeadWidth::Divided) => divided(&config, heads_key, heads, width, width_key)?,
        };
        let wiring = chosen(flavour.wiring, &config)?
            .ok_or_else(|| config.error("model_type", "a known wiring", "none"))?;
        let blocks = block_count(&config, keys.blocks.key(&config), keys.blocks.1, weights)?;
        let (inner_key, multiple) = keys.inner;
        let inner = match (config.optional_count(inner_key)?, multiple) {
            (Some(inner), _) => inner,
            (None, Some(multiple)) => multiple * width,
            (None, None) => config.count(inner_key)?,
        };
        let (activation_key, activation) = keys.activation;
        let (epsilon_key, epsilon) = keys.epsilon;
        let max_positions = keys.positions.read(&config)?;
        let cap = |column: Option<(&'static str, f64)>| -> Result<Option<f64>, ModelError> {
            let Some((key, default)) = column else {
                return Ok(None);
            };
            // Null switches a cap off.
            let found = if config.mentions(key) {
                config.optional_positive(key)?
            } else {
                Some(default)
            };
            Ok(found.filter(|cap| cap.is_finite()))
        };
        let mut shape = Self {
            flavour,
            config,
            width,
            word_width: match flavour.word_width {
                Some((key, _)) => config.count_or(key, width)?,
                None => width,
            },
            inner,
            heads,
            kv_heads,
            head_dim,
            vocabulary: keys.vocabulary.read(&config)?,
            max_positions,
            epsilon: config.positive_or(epsilon_key, epsilon)?,
            activation: config.activation(activation_key, activation)?,
            wiring,
            blocks: windows::blocks(
                flavour,
                &config,
                blocks,
                latent.map_or(head_dim, |latent| latent.rotated),
                max_positions,
            )?,
            latent,
            has_last_norm: flavour.last_norm.holds(&config)?,
            head: Head::of(flavour, &config, &place, weights)?,
            place,
            head_bias: flavour.biases.head.holds(&config)?,
            embedding_scale: 1.0,
            residual_scale: 1.0,
            logit_scale: 1.0,
            score_cap: cap(flavour.score_cap)?,
            logit_cap: cap(flavour.logit_cap)?,
            clip: match flavour.clip {
                Some(key) => config.optional_positive(key)?,
                None => None,
            },
        };
        shape.embedding_scale = shape.factor(flavour.embedding_scale, 0)?;
        shape.residual_scale = shape.factor(flavour.residual_scale, 0)?;
        shape.logit_scale = shape.factor(flavour.logit_scale, 0)?;
        Ok(shape)
    }

    /// The module `name` outside the blocks.
    pub(super) fn named(&self, name: &str) -> String {
        format!("{}{name}", self.place.prefix)
    }

    /// A norm as wide as the states.
    pub(super) fn norm(&self, name: String) -> NormNode {
        self.norm_of(self.flavour.norm, name, self.width)
    }

    /// A norm of `style`.
    pub(super) fn norm_of(&self, style: NormStyle, name: String, width: usize) -> NormNode {
        let (kind, parameters, one_plus) = match style {
            NormStyle::Rms => (NormKind::Rms, NormParameters::Weight, false),
            NormStyle::RmsOnePlus => (NormKind::Rms, NormParameters::Weight, true),
            NormStyle::Layer => (NormKind::Layer, NormParameters::WeightAndBias, false),
            NormStyle::LayerNoBias => (NormKind::Layer, NormParameters::Weight, false),
            NormStyle::LayerOnePlus => (NormKind::Layer, NormParameters::WeightAndBias, true),
            NormStyle::LayerBare => (NormKind::Layer, NormParameters::None, false),
        };
        NormNode {
            kind,
            parameters,
            one_plus,
            ..NormNode::rms(name, width, self.epsilon)
        }
    }

    /// A factor, in block `index`.
    pub(super) fn factor(&self, factor: Factor, index: usize) -> Result<f64, ModelError> {
        let config = &self.config;
        let root_head = (self.head_dim as f64).sqrt().recip();
        Ok(match factor {
            Factor::One => 1.0,
            Factor::RootWidth => (self.width as f64).sqrt(),
            Factor::Key(key, default) => config.positive_or(key, default)?,
            Factor::Inverse(key, default) => config.positive_or(key, default)?.recip(),
            Factor::InverseRoot(key, default) => config.positive_or(key, default)?.sqrt().recip(),
            Factor::InverseRootHead => root_head,
            Factor::KeyOrInverseRootHead(key) => {
                config.optional_positive(key)?.unwrap_or(root_head)
            }
            Factor::ByBlock => {
                let mut scale = 1.0;
                if config.flag_or("scale_attn_weights", true)? {
                    scale /= (self.head_dim as f64).sqrt();
                }
                if config.flag_or("scale_attn_by_inverse_layer_idx", false)? {
                    scale /= (index + 1) as f64;
                }
                scale
            }
        })
    }
}
