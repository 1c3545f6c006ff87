//! Values of the columns of families with experts.

use super::columns::{Count, Factor, Flag};

/// Which blocks have experts.
#[derive(Debug, Clone, Copy)]
pub(super) enum Sparse {
    /// All.
    All,
    /// Every `decoder_sparse_step`-th but those of `mlp_only_layers`.
    Stepped,
    /// Those from the key on, with its default.
    From(&'static str, usize),
}

/// How logits become shares.
#[derive(Debug, Clone, Copy)]
pub(super) enum Scores {
    /// Softmax over all experts.
    Softmax,
    /// Softmax over the chosen ones.
    SoftmaxOfChosen,
    /// Logistic function.
    Sigmoid,
    /// Of phimoe, with the key of its jitter and the default.
    SparseMixer(&'static str, f64),
}

/// How the matrices of experts are stored.
#[derive(Debug, Clone, Copy)]
pub(super) enum Storage {
    /// Expert by expert, below this list: gate, up and down.
    OneByOne(&'static str, [&'static str; 3]),
    /// All experts in one tensor for gate and up, and one for down. A slice is a matrix of its own here, named by
    /// the tensor and the number of the expert.
    Stacked {
        /// Gate and up, down.
        modules: &'static [&'static str; 2],
        /// Slices are stored `[in, out]`.
        transposed: bool,
        bias: bool,
        /// Gate and up alternate and are clamped (gpt-oss); otherwise the gate comes first.
        alternating: bool,
    },
}

/// A network all tokens pass beside the experts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shared {
    pub(super) name: &'static str,
    /// Its width in units of an expert's, where this key is the number of them; else the key is its width.
    pub(super) inner: (&'static str, bool),
    /// The gate on its output, or nothing.
    pub(super) gate: &'static str,
}

/// Everything in which families of experts differ.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Experts {
    pub(super) sparse: Sparse,
    pub(super) count: Count,
    pub(super) chosen: Count,
    /// Key of the width of an expert; empty: that of a dense half.
    pub(super) inner: &'static str,
    pub(super) router: &'static str,
    pub(super) router_bias: bool,
    pub(super) scores: Scores,
    pub(super) normalised: Flag,
    pub(super) scale: Factor,
    /// Name of what is added to the scores for the choice, or nothing.
    pub(super) correction: &'static str,
    /// A group counts as its best so many experts; 0: there are no groups.
    pub(super) group_best: usize,
    /// Groups only where this holds.
    pub(super) grouped: Flag,
    pub(super) storage: Storage,
    pub(super) shared: Option<Shared>,
}
