//! The columns of the encoder table: everything in which one family differs from another.

/// What tells positions apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Positions {
    /// A table, whose first row for text is this one.
    Table(usize),
    /// A table; the first row for text is the one after that of the padding token.
    AfterPadding,
    /// The same from this row on, and a learned bias for ranges of distances.
    TableAndBias(usize),
    /// Rotation; key and default of the base.
    Rope(&'static str, f64),
    /// Rotation, with another base in blocks that see neighbours only: keys and defaults of both.
    LocalRope([(&'static str, f64); 2]),
    /// Vectors of distances, and a table where `position_biased_input` says so.
    Disentangled,
}

/// The projections of queries, keys and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Qkv {
    /// Names of three layers.
    Separate([&'static str; 3]),
    /// Name of one layer, queries first.
    Fused(&'static str),
}

/// The feed-forward half: names of its layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mlp {
    /// `down(f(up(x)))`.
    Plain([&'static str; 2]),
    /// `down(f(gate(x)) · up(x))`: gate, up, down.
    Gated([&'static str; 3]),
    /// The same with the gate in the first half of `up`.
    FusedGate([&'static str; 2]),
}

/// Which layers and norms have offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offsets {
    /// All.
    All,
    /// Those this flag switches on, which is off where the file says nothing.
    Key(&'static str),
    /// None.
    None,
}

/// An activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    /// The one the blocks have.
    OfBlocks,
    /// This one, by name.
    Fixed(&'static str),
    /// The one under the key, with its default.
    Key(&'static str, &'static str),
}

/// Width of the embedding tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TableWidth {
    /// That of the blocks.
    OfBlocks,
    /// The key, with its default; where it differs from the blocks, this layer stands between.
    Key(&'static str, usize, &'static str),
    /// The same, and the layer is always there.
    Projected(&'static str, usize, &'static str),
}

/// Names of modules. Those inside a block are relative to it, those of heads are without the prefix; an
/// empty name is a module that is not there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names {
    pub(super) prefix: &'static str,
    pub(super) tokens: &'static str,
    pub(super) positions: &'static str,
    pub(super) types: &'static str,
    pub(super) embedding_norm: &'static str,
    pub(super) blocks: &'static str,
    pub(super) output: &'static str,
    pub(super) attention_norm: &'static str,
    pub(super) mlp_norm: &'static str,
    pub(super) last_norm: &'static str,
}

/// Keys of config.json, with defaults where a file may lack them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keys {
    pub(super) width: &'static str,
    pub(super) blocks: &'static str,
    pub(super) heads: &'static str,
    pub(super) inner: &'static str,
    pub(super) activation: (&'static str, &'static str),
    /// An empty key: always the default.
    pub(super) epsilon: (&'static str, f64),
    pub(super) positions: usize,
    pub(super) types: usize,
}

/// A head of masked language models: a layer, an activation, a norm, the token table.
#[derive(Debug, Clone, Copy)]
pub(super) struct MaskedHead {
    pub(super) dense: &'static str,
    pub(super) norm: &'static str,
    pub(super) function: Function,
    /// Where the last layer is stored if it is not the token table.
    pub(super) decoder: &'static str,
    /// Names the bias goes by; the first is what is asked for.
    pub(super) bias: &'static [&'static str],
    /// The flag that switches the bias off.
    pub(super) bias_flag: Option<&'static str>,
}

/// What stands between the states and the layer to class logits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pooler {
    /// Layer.
    pub(super) dense: &'static str,
    pub(super) function: Function,
    pub(super) norm: &'static str,
}

/// One family of encoders.
#[expect(clippy::struct_excessive_bools, reason = "columns of a table")]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flavour {
    pub(super) model_type: &'static str,
    pub(super) summary: &'static str,
    /// An integer program has the operations of its blocks.
    pub(super) integer_only: bool,
    /// What names of classes begin with.
    pub(super) stem: &'static str,
    /// Ends of the names of classes that predict masked tokens.
    pub(super) masked: &'static [&'static str],
    /// Ends of those whose result is the hidden states here.
    pub(super) bare: &'static [&'static str],
    pub(super) names: Names,
    pub(super) keys: Keys,
    pub(super) table_width: TableWidth,
    pub(super) positions: Positions,
    pub(super) qkv: Qkv,
    pub(super) mlp: Mlp,
    /// Norms stand before the halves, and the first block has none before its attention.
    pub(super) norm_first: bool,
    /// Offsets of norms, of the attention's layers, of the feed-forward layers, of the heads' layers.
    pub(super) norm_offsets: Offsets,
    pub(super) attention_offsets: Offsets,
    pub(super) mlp_offsets: Offsets,
    pub(super) head_offsets: Offsets,
    /// Blocks share weights in groups (`num_hidden_groups`, `inner_group_num`).
    pub(super) shared: bool,
    /// Older heads, and newer ones that `legacy = false` chooses.
    pub(super) masked_head: MaskedHead,
    pub(super) newer_masked_head: Option<MaskedHead>,
    pub(super) pooler: Pooler,
    /// The pooler's layers stand behind the prefix.
    pub(super) pooler_has_prefix: bool,
    /// The pooler serves single tokens, too.
    pub(super) pooler_for_tokens: bool,
    /// Key that says whether the first token or the mean is pooled, where there is one.
    pub(super) pooling: Option<&'static str>,
    /// Layer to class logits of a text; that of single tokens is `classifier` everywhere.
    pub(super) classifier: &'static str,
}
