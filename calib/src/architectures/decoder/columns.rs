//! Values of the columns of the decoder table: how one family differs from another.

/// A condition on config.json.
#[derive(Debug, Clone, Copy)]
pub(super) enum Flag {
    /// Always.
    Yes,
    /// Never.
    No,
    /// The boolean key, with the value of a file that does not have it.
    Key(&'static str, bool),
    /// The boolean key is false, with the value of a file that does not have it.
    Not(&'static str, bool),
    /// The count key has this value; the second is that of a file without it.
    Count(&'static str, usize, usize),
    /// The text under the key is this one.
    Text(&'static str, &'static str),
    /// All of them.
    All(&'static [Flag]),
}

/// Another choice for every condition; the first that holds counts.
pub(super) type Cases<T> = &'static [(Flag, T)];

/// A count in config.json: the first key present, else the default.
#[derive(Debug, Clone, Copy)]
pub(super) struct Count(pub(super) &'static [&'static str], pub(super) Option<usize>);

/// A number of heads or channels that follows from others where it is not given.
#[derive(Debug, Clone, Copy)]
pub(super) enum Derived {
    /// Always this.
    Fixed(usize),
    /// As many as query heads.
    Heads,
    /// The key; where it is absent or null, as many as query heads.
    Key(&'static str),
    /// The key; where it is absent this many, where it is null as many as query heads.
    KeyOr(&'static str, usize),
}

/// Width of a head.
#[derive(Debug, Clone, Copy)]
pub(super) enum HeadWidth {
    /// `head_dim`, else the width divided by the heads.
    Divided,
    /// `head_dim`, else this.
    Or(usize),
}

/// A normalisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NormStyle {
    /// `RMSNorm`.
    Rms,
    /// `RMSNorm` that multiplies with one more than the stored factors.
    RmsOnePlus,
    /// `LayerNorm`.
    Layer,
    /// `LayerNorm` without offsets.
    LayerNoBias,
    /// `LayerNorm` that multiplies with one more than the stored factors.
    LayerOnePlus,
    /// `LayerNorm` without parameters.
    LayerBare,
}

/// How the halves of a block and its norms hang together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// One half after the other, each with norms before it, after it, or both: those that have a name.
    Sequential,
    /// `norm(x + f(x))`.
    AfterResidual,
    /// Side by side; without a name for the second norm both read the first.
    Parallel,
}

/// Wiring of a block, with the names of its norms; an empty name is a norm that is not there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wiring {
    pub(super) order: Order,
    pub(super) attention: &'static str,
    pub(super) attention_output: &'static str,
    pub(super) mlp: &'static str,
    pub(super) mlp_output: &'static str,
}

/// Which channels of queries and keys are normalised together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum QkNorm {
    /// None are.
    None,
    /// Those of a head, with the same factors for all heads.
    Head(NormStyle),
    /// As before, after the rotation.
    HeadAfterRope(NormStyle),
    /// Those of all heads.
    Joint(NormStyle),
    /// Those of a head, with factors `[heads, head_dim]`.
    Stacked(NormStyle),
    /// Those of a head, each head by a module of its own below this name.
    Modules(NormStyle, &'static str),
}

/// The projections of queries, keys and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Qkv {
    /// Three layers.
    Separate,
    /// One layer, queries first.
    Concatenated,
    /// One layer, key-value head by key-value head.
    ByKeyValueHead,
}

/// The feed-forward half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mlp {
    /// `down(f(up(x)))`.
    Plain,
    /// With a gate layer.
    Gated,
    /// With the gate in the first half of `up`.
    FusedGate,
}

/// What tells positions apart.
#[derive(Debug, Clone, Copy)]
pub(super) enum Positions {
    /// Rotation alone.
    Rope(Rope),
    /// A table, whose first row for text is this one.
    Table(usize),
    /// `ALiBi`.
    Slopes(Slopes),
    /// One or the other, by the flag: slopes, else rotation.
    SlopesIf(Flag, Slopes, Rope),
}

/// `ALiBi` variants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slopes {
    /// As published.
    Plain,
    /// Rounded to bf16 and divided by the root of the head width with the scores (falcon).
    RoundedAndScaled,
    /// Steepness from `attn_config.alibi_bias_max`, slopes of the next power of two (mpt).
    HigherPower,
}

/// Rotation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rope {
    /// Pairs are neighbours.
    pub(super) interleaved: Flag,
    /// Key and default of the base.
    pub(super) theta: (&'static str, f64),
    /// Key and default of the share of a head that is rotated.
    pub(super) share: (&'static str, f64),
    /// Key of the number of channels that are rotated, where there is one.
    pub(super) channels: Option<&'static str>,
    /// Which blocks rotate.
    pub(super) blocks: RopeBlocks,
    /// Blocks with a window have parameters of their own.
    pub(super) local: Option<LocalRope>,
    /// `yarn` is read as `longrope` (older phi3 files).
    pub(super) yarn_is_long: bool,
}

/// Parameters of blocks with a window, where a file of the older kind names one base for each.
#[derive(Debug, Clone, Copy)]
pub(super) struct LocalRope {
    /// Key and default of their base; an empty key: that of the others.
    pub(super) theta: (&'static str, f64),
}

/// Which blocks rotate queries and keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RopeBlocks {
    /// All.
    All,
    /// Those with a window.
    Windowed,
    /// Those with a window; all where the model has none.
    WindowedIfAny,
    /// Those `no_rope_layers` gives a 1, else all but every `no_rope_layer_interval`-th.
    Listed,
}

/// Which blocks see a window only.
#[derive(Debug, Clone, Copy)]
pub(super) enum Windows {
    /// None.
    None,
    /// All, where `sliding_window` is a number; the value of a file without it.
    All(Option<usize>),
    /// All, where the flag is on; the window of a file without one.
    AllIf(&'static str, usize),
    /// `layer_types`, else those from `max_window_layers` on; none unless `use_sliding_window`.
    Qwen,
    /// `layer_types`, else all but every n-th, n from the key or the default; the window of a file without
    /// it.
    Period(&'static str, usize, usize),
    /// `layer_types`, else all.
    Types(usize),
    /// `layer_types`, else those that do not rotate; none unless `use_sliding_window`.
    Unrotated,
}

/// A factor.
#[derive(Debug, Clone, Copy)]
pub(super) enum Factor {
    /// One.
    One,
    /// The root of the width.
    RootWidth,
    /// The key, with its default.
    Key(&'static str, f64),
    /// One divided by the key.
    Inverse(&'static str, f64),
    /// One divided by the root of the key.
    InverseRoot(&'static str, f64),
    /// One divided by the root of the head width.
    InverseRootHead,
    /// The key where it is a number, else one divided by the root of the head width.
    KeyOrInverseRootHead(&'static str),
    /// As the last but one, unless `scale_attn_weights` is off, by block where
    /// `scale_attn_by_inverse_layer_idx` is on (gpt2).
    ByBlock,
}
