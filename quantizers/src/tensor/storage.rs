//! How floats are stored, and how many weights share one.

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
    /// The type that configurations call `name`, with or without a leading `torch.`; nothing for other types.
    pub fn of_name(name: &str) -> Option<Self> {
        match name.strip_prefix("torch.").unwrap_or(name) {
            "float32" | "float" => Some(Self::F32),
            "float16" | "half" => Some(Self::F16),
            "bfloat16" => Some(Self::Bf16),
            _ => None,
        }
    }

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

    /// Consecutive inputs of a row of `cols` that share a scale, at least 1.
    pub fn group_size(self, cols: usize) -> usize {
        match self {
            Self::Tensor | Self::Channel => cols.max(1),
            Self::Group(size) => size,
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
