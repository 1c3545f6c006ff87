//! What a layer will look like on disk, without its values.

use super::storage::Granularity;
use crate::trellis::Code;
use serde::{Deserialize, Serialize};

/// Bits of `weight_shape`, two 64-bit integers.
pub(super) const SHAPE_BITS: u64 = 128;

/// What a layer will look like on disk; known while planning, before any weight is read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a property that files hold on its own"
)]
pub struct Scheme {
    /// Registry name of the method that made it.
    pub method: String,
    /// Kind of dense part.
    pub kind: SchemeKind,
    /// Width of one code.
    pub bits: u8,
    /// Who shares a scale (uniform) or is ignored (codebook: one table per row; trellis).
    pub granularity: Granularity,
    /// Uniform: zero point fixed at 0.
    pub symmetric: bool,
    /// Uniform: every column stores its group, because the columns of a group are not neighbours.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub column_groups: bool,
    /// A sparse part is stored beside the dense one.
    pub outliers: bool,
    /// The checkpoint stores this weight as `[in, out]` (`Conv1D`); the artifact always as `[out, in]`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub transposed: bool,
    /// The layer's input is quantized too when the model runs (W8A8); nothing for weight-only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<InputGrid>,
}

/// Kind of dense part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SchemeKind {
    /// Uniform grid.
    Uniform,
    /// Lookup table.
    Codebook,
    /// Streams of a trellis code in a rotated basis.
    Trellis {
        /// From states to values.
        code: Code,
        /// Bits of a state.
        state_bits: u8,
    },
}

/// How an engine quantizes the input of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputGrid {
    /// Width of one code.
    pub bits: u8,
    /// Zero point fixed at 0.
    pub symmetric: bool,
    /// Scale of every token found when running; otherwise one stored scale for the tensor.
    pub dynamic: bool,
}
