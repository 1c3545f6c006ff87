//! How packed weights are multiplied.

use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// How packed weights are multiplied with one token, or a few.
///
/// Many tokens at once, prompts and windows, are always multiplied as f32: their time is that of the products, not of the
/// lookups, and f32 has as many of them in a second as 16-bit numbers have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compute {
    /// Values of codes as they are, in f32.
    #[default]
    F32,
    /// Activations and tables of up to 4 bits rounded to bf16, products exact and summed in f32: errors are some 50 dB below
    /// the sums. Twice the products of f32 in a second where a processor multiplies bf16 (AVX-512 BF16), else as fast as
    /// f32, with the same results up to the order of their sums. Wider codes stay in f32.
    Bf16,
    /// Activations rounded to 16 bits, with a scale for each 32, and tables to 15 bits; products are summed exactly. With
    /// AVX2 about one and a half times as fast as f32 for codes of 4 bits; errors are some 85 dB below the sums. Codebooks
    /// of other widths, and groups that are no multiples of 32, stay in f32.
    Int16,
    /// Activations rounded to 8 bits, with a scale for each 32, and tables to 7 bits, for codes of up to 4 bits; products are
    /// summed exactly. Errors are some 38 dB below the sums. Wider codes are multiplied as [`Self::Int16`] says.
    Int8,
}

/// A way to multiply with its name and what is to be said of it.
pub struct ComputeEntry {
    /// As it is asked for.
    pub name: &'static str,
    /// In a line.
    pub summary: &'static str,
    compute: Compute,
}

/// All of them.
pub const COMPUTES: &[ComputeEntry] = &[
    ComputeEntry {
        name: "f32",
        summary: "Values of codes as they are stored",
        compute: Compute::F32,
    },
    ComputeEntry {
        name: "bf16",
        summary: "Activations and tables of up to 4 bits rounded to bf16: the fastest where a processor multiplies such",
        compute: Compute::Bf16,
    },
    ComputeEntry {
        name: "int16",
        summary: "Activations rounded to 16 bits, products summed exactly: half as fast again for codes of 4 bits",
        compute: Compute::Int16,
    },
    ComputeEntry {
        name: "int8",
        summary: "Activations rounded to 8 bits, tables to 7, where codes have up to 4, else as int16: the fastest",
        compute: Compute::Int8,
    },
];

/// A way to multiply that is none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("expected {}, found `{found}`", names())]
pub struct ComputeError {
    /// What was given.
    pub found: String,
}

fn names() -> String {
    let names: Vec<String> = COMPUTES
        .iter()
        .map(|entry| format!("`{}`", entry.name))
        .collect();
    names.join(" or ")
}

impl fmt::Display for Compute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entry = COMPUTES.iter().find(|entry| entry.compute == *self);
        f.write_str(entry.map_or("", |entry| entry.name))
    }
}

impl FromStr for Compute {
    type Err = ComputeError;

    fn from_str(name: &str) -> Result<Self, ComputeError> {
        let entry = COMPUTES.iter().find(|entry| entry.name == name);
        entry
            .map(|entry| entry.compute)
            .ok_or_else(|| ComputeError {
                found: name.to_owned(),
            })
    }
}
