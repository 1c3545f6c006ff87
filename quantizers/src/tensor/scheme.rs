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
    /// Scale granularity; without meaning for a trellis, and for a codebook without scales.
    pub granularity: Granularity,
    /// Uniform: zero point fixed at 0.
    pub symmetric: bool,
    /// Uniform: zero points are f16 and need not be codes; never beside `symmetric`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub float_zero_points: bool,
    /// Uniform: every column stores its group, because the columns of a group are not neighbours.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub column_groups: bool,
    /// Codebook: how many tables, and their scales. Absent: one table per row, without scales.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tables: Option<TableScheme>,
    /// A sparse part is stored beside the dense one.
    pub outliers: bool,
    /// The checkpoint stores this weight as `[in, out]` (`Conv1D`); the artifact always as `[out, in]`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub transposed: bool,
    /// The layer's input is quantized too when the model runs (W8A8); nothing for weight-only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<InputGrid>,
}

impl Scheme {
    /// A dense part of `kind`, made by the method called `method`, with nothing beside it: one scale per output
    /// channel, zero points, no groups of columns, no sparse part, inputs as they are.
    pub fn new(method: &str, kind: SchemeKind, bits: u8) -> Self {
        Self {
            method: method.to_owned(),
            kind,
            bits,
            granularity: Granularity::Channel,
            symmetric: false,
            float_zero_points: false,
            column_groups: false,
            tables: None,
            outliers: false,
            transposed: false,
            inputs: None,
        }
    }
}

/// How many tables the rows of a codebook share, and how the scales of their entries are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableScheme {
    /// Number of tables; `rows / count` consecutive rows share one.
    pub count: usize,
    /// Width of one scale: 16 for f16, less for signed codes beside one f16 per row; absent: no scales.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_bits: Option<u8>,
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
