//! A quantized matrix in memory: codes, grids or codebooks, outliers, and its true size.

mod check;
mod decode;
mod digest;
mod scheme;
mod size;

pub use check::InvalidTensor;
pub use digest::Digest;
pub use scheme::{Activations, Scheme, SchemeKind};

use half::f16;
use serde::{Deserialize, Serialize};

/// Float types a checkpoint or a scale can be stored in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FloatType {
    /// 32-bit IEEE.
    F32,
    /// 16-bit IEEE.
    F16,
    /// bfloat16.
    Bf16,
}

impl FloatType {
    /// Stored bits of one value.
    pub fn bits(self) -> u64 {
        match self {
            Self::F32 => 32,
            Self::F16 | Self::Bf16 => 16,
        }
    }

    /// `value` as this type holds it (round to nearest even).
    pub fn round(self, value: f32) -> f32 {
        match self {
            Self::F32 => value,
            Self::F16 => f16::from_f32(value).to_f32(),
            Self::Bf16 => half::bf16::from_f32(value).to_f32(),
        }
    }
}

/// How many weights share one scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Granularity {
    /// One scale for the matrix.
    Tensor,
    /// One scale per output row.
    Channel,
    /// One scale per this many consecutive inputs of a row; the last group of a row may be shorter.
    Group(usize),
}

impl Granularity {
    /// Scales per row (a tensor-wide scale counts as one per row here; see [`Self::scale_count`]).
    pub fn groups_per_row(self, cols: usize) -> usize {
        match self {
            Self::Tensor | Self::Channel => 1,
            Self::Group(size) => cols.div_ceil(size),
        }
    }

    /// Scales of a `[rows, cols]` matrix.
    pub fn scale_count(self, rows: usize, cols: usize) -> usize {
        match self {
            Self::Tensor => 1,
            _ => rows * self.groups_per_row(cols),
        }
    }
}

/// Uniform grid: `w = scale * (code - zero_point)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Uniform {
    /// Width of one code, 1..=8.
    pub bits: u8,
    /// Who shares a scale.
    pub granularity: Granularity,
    /// Signed codes in `-2^(bits-1) ..= 2^(bits-1)-1`, `[rows, cols]`.
    pub codes: Vec<i8>,
    /// Scales, already rounded to `scale_type`; `[rows, groups]`, or one for the tensor.
    pub scales: Vec<f32>,
    /// How the scales are stored.
    pub scale_type: FloatType,
    /// Zero points (same shape as `scales`), absent for symmetric grids.
    pub zero_points: Option<Vec<i8>>,
}

/// Non-uniform values: `w = table[code]` (times a row scale where there is one).
#[derive(Debug, Clone, PartialEq)]
pub struct Codebook {
    /// Width of one index, 1..=8.
    pub bits: u8,
    /// Indices, `[rows, cols]`.
    pub indices: Vec<u8>,
    /// Tables, `[tables, 2^bits]`, each ascending; `rows / tables` consecutive rows share one.
    pub tables: Vec<f16>,
    /// Row scales `[rows]`, where a table is shared.
    pub row_scales: Option<Vec<f16>>,
}

/// The representation of the dense part.
#[derive(Debug, Clone, PartialEq)]
pub enum Encoding {
    /// Uniform grid.
    Uniform(Uniform),
    /// Lookup table.
    Codebook(Codebook),
    /// Kept float values, `[rows, cols]`.
    Float {
        /// How they are stored.
        float_type: FloatType,
        /// Values, already rounded to `float_type`.
        values: Vec<f32>,
    },
}

/// Compressed sparse rows; values ADD to the dense part.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Csr {
    /// `[rows + 1]` offsets into `columns`.
    pub row_pointers: Vec<u32>,
    /// Input index of every stored value, ascending within a row.
    pub columns: Vec<u32>,
    /// `w - dense(w)` of every stored value.
    pub values: Vec<f16>,
}

/// A quantized `[rows, cols]` matrix, row = output channel.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantizedTensor {
    /// Output channels.
    pub rows: usize,
    /// Inputs.
    pub cols: usize,
    /// Dense part.
    pub encoding: Encoding,
    /// Sparse part, added to the dense one.
    pub outliers: Option<Csr>,
}
