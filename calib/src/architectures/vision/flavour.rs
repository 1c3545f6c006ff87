//! The columns of the vision table: everything in which one family of towers differs from another.

/// What every position of a tower is at first.
#[derive(Debug, Clone, Copy)]
pub(super) enum Input {
    /// A patch of an image.
    Patches(Patches),
    /// A token of a text.
    Tokens,
}

/// Names of what becomes the rows of an image; an empty name is a tensor that is not there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patches {
    /// The convolution.
    pub(super) projection: &'static str,
    /// It has a bias.
    pub(super) bias: bool,
    /// Rows in front of the patches.
    pub(super) tokens: &'static [&'static str],
    /// They are stored as `[width]`, not `[1, 1, width]`.
    pub(super) flat_tokens: bool,
    /// Rows between tokens and patches.
    pub(super) registers: &'static str,
    /// Normalisation of all rows.
    pub(super) norm: &'static str,
    /// Side of a patch where config.json does not say.
    pub(super) side: usize,
}

/// The table of positions.
#[derive(Debug, Clone, Copy)]
pub(super) enum Positions {
    /// `[1, positions, width]`.
    Stacked(&'static str),
    /// `[positions, width]`.
    Table(&'static str),
    /// As the first, if this key of config.json is true.
    StackedIf(&'static str, &'static str),
}

/// Names of modules of a block, relative to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct BlockNames {
    pub(super) norms: [&'static str; 2],
    pub(super) query: &'static str,
    pub(super) key: &'static str,
    pub(super) value: &'static str,
    pub(super) output: &'static str,
    pub(super) up: &'static str,
    pub(super) down: &'static str,
}

/// A factor for each channel of what the halves of a block add.
#[derive(Debug, Clone, Copy)]
pub(super) enum Scales {
    /// None.
    None,
    /// These tensors.
    Always([&'static str; 2]),
    /// These, if the number under this key, with its default, is above zero.
    IfAbove(&'static str, f64, [&'static str; 2]),
}

/// Width of the feed-forward half.
#[derive(Debug, Clone, Copy)]
pub(super) enum Inner {
    /// `intermediate_size`.
    Key,
    /// `mlp_ratio` times the width. Where `use_swiglu_ffn` is on, two thirds of it rounded up to a
    /// multiple of 8, with the gate in the first half of the first of these layers.
    Ratio([&'static str; 2]),
}

/// Biases on scores by the offset between patches: table of a block, table of all blocks, each where its
/// key of config.json is true.
#[derive(Debug, Clone, Copy)]
pub(super) struct Offsets {
    pub(super) own: (&'static str, &'static str),
    pub(super) shared: (&'static str, &'static str),
}

/// Which positions go on to the last norm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    All,
    First,
    Last,
    MeanOfPatches,
}

/// What becomes of them after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    Nothing,
    MeanOfPatches,
    FirstAndMeanOfPatches,
    /// Attention of a learned query, in the module of this name.
    Probe(&'static str),
}

/// The last layer. It has no prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Last {
    Nothing,
    /// To class logits.
    Classifier(&'static str),
    /// One classifier each for the first positions, averaged.
    Classifiers(&'static [&'static str]),
    /// To an embedding as wide as the key says, without a bias.
    Projection(&'static str, &'static str),
    /// The same with a bias, and with the prefix; as wide as the states where the key is not there.
    Head(&'static str, &'static str),
}

/// How one class of models ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ending {
    pub(super) class: &'static str,
    /// Only where this key, with its default, has this value.
    pub(super) only_if: Option<(&'static str, bool, bool)>,
    pub(super) at: At,
    /// Name of the norm.
    pub(super) norm: &'static str,
    pub(super) after: After,
    pub(super) last: Last,
}

/// Sizes of a config.json that does not say; without a value here it must.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub(super) width: Option<usize>,
    pub(super) inner: Option<usize>,
    pub(super) blocks: Option<usize>,
    pub(super) heads: Option<usize>,
    pub(super) vocabulary: Option<usize>,
    pub(super) positions: Option<usize>,
}

/// One family of towers.
#[expect(clippy::struct_excessive_bools, reason = "columns of a table")]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flavour {
    pub(super) model_type: &'static str,
    pub(super) summary: &'static str,
    /// An integer program has the operations of its blocks.
    pub(super) integer_only: bool,
    pub(super) prefix: &'static str,
    pub(super) input: Input,
    pub(super) positions: Positions,
    /// The list of blocks.
    pub(super) blocks: &'static str,
    pub(super) block: BlockNames,
    pub(super) sizes: Sizes,
    pub(super) inner: Inner,
    pub(super) epsilon: f64,
    pub(super) activation: &'static str,
    /// Positions see only those before them.
    pub(super) causal: bool,
    /// `qkv_bias` says whether queries, keys and values have a bias; else they do.
    pub(super) qkv_bias: bool,
    /// Keys have one where the others do.
    pub(super) key_bias: bool,
    pub(super) scales: Scales,
    pub(super) offsets: Option<Offsets>,
    /// In order of preference where `architectures` says nothing.
    pub(super) endings: &'static [Ending],
}
