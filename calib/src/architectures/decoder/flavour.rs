//! A row of the decoder table: everything in which one family differs from another.

pub(super) use super::columns::{
    Cases, Count, Derived, Factor, Flag, HeadWidth, LocalRope, Mlp, NormStyle, Order, Positions,
    QkNorm, Qkv, Rope, RopeBlocks, Slopes, Windows, Wiring,
};
use super::expert_columns::Experts;

/// Names of modules; those inside a block are relative to it, an empty name is a module that is not there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names {
    pub(super) prefix: &'static str,
    pub(super) tokens: &'static str,
    pub(super) positions: &'static str,
    pub(super) embedding_norm: &'static str,
    pub(super) blocks: &'static str,
    pub(super) query: &'static str,
    pub(super) key: &'static str,
    pub(super) value: &'static str,
    pub(super) qkv: &'static str,
    pub(super) output: &'static str,
    pub(super) query_norm: &'static str,
    pub(super) key_norm: &'static str,
    pub(super) gate: &'static str,
    pub(super) up: &'static str,
    pub(super) down: &'static str,
    pub(super) last_norm: &'static str,
    pub(super) head: &'static str,
}

/// Keys of config.json.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keys {
    pub(super) width: Count,
    pub(super) blocks: Count,
    pub(super) heads: Count,
    pub(super) vocabulary: Count,
    pub(super) positions: Count,
    /// Where it is absent, a multiple of the width.
    pub(super) inner: (&'static str, Option<usize>),
    pub(super) kv_heads: Cases<Derived>,
    pub(super) epsilon: (&'static str, f64),
    /// An empty key: always the default.
    pub(super) activation: (&'static str, &'static str),
    /// Values of keys that change the mathematics in a way that is not implemented.
    pub(super) only: &'static [(&'static str, bool)],
}

/// Which layers add a bias.
#[derive(Debug, Clone, Copy)]
pub(super) struct Biases {
    pub(super) qkv: Flag,
    pub(super) output: Flag,
    pub(super) mlp: Flag,
    pub(super) head: Flag,
}

/// One family of decoders.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flavour {
    pub(crate) model_type: &'static str,
    pub(super) summary: &'static str,
    /// The classes with a head and without one.
    pub(super) classes: [&'static str; 2],
    pub(super) names: Names,
    pub(super) keys: Keys,
    pub(super) norm: NormStyle,
    pub(super) wiring: Cases<Wiring>,
    pub(super) qkv: Qkv,
    pub(super) head_dim: HeadWidth,
    pub(super) qk_norm: Cases<QkNorm>,
    pub(super) biases: Biases,
    pub(super) mlp: Mlp,
    /// Weights are stored `[in, out]`.
    pub(super) transposed: bool,
    pub(super) positions: Positions,
    pub(super) windows: Windows,
    pub(super) last_norm: Flag,
    pub(crate) tied: bool,
    /// Token vectors are narrower than the blocks where this key says so (names of the layers between).
    pub(super) word_width: Option<(&'static str, [&'static str; 2])>,
    pub(super) embedding_scale: Factor,
    pub(super) attention_scale: Factor,
    pub(super) residual_scale: Factor,
    pub(super) logit_scale: Factor,
    /// Key and default of the caps on scores and on logits.
    pub(super) score_cap: Option<(&'static str, f64)>,
    pub(super) logit_cap: Option<(&'static str, f64)>,
    /// Key of the magnitude queries, keys and values are clamped to.
    pub(super) clip: Option<&'static str>,
    /// Scores without a value, one for each head, under this name.
    pub(super) sinks: &'static str,
    /// Keys and values are made from a latent vector.
    pub(super) latent: bool,
    /// Experts in place of the feed-forward half.
    pub(super) experts: Option<&'static Experts>,
}
