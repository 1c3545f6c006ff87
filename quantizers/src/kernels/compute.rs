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
    /// Activations rounded to 16 bits, with a scale for each 32, and tables to 15 bits; products are summed exactly. About
    /// 2.5 times as fast as f32 for codes of 4 bits; errors are some 85 dB below the sums.
    Int16,
}

/// All of them with their names.
const ALL: [(Compute, &str); 2] = [(Compute::F32, "f32"), (Compute::Int16, "int16")];

/// A way to multiply that is none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("expected {}, found `{found}`", ALL.map(|(_, name)| format!("`{name}`")).join(" or "))]
pub struct ComputeError {
    /// What was given.
    pub found: String,
}

impl fmt::Display for Compute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = ALL.iter().find(|(compute, _)| compute == self);
        f.write_str(name.map_or("", |(_, name)| name))
    }
}

impl FromStr for Compute {
    type Err = ComputeError;

    fn from_str(name: &str) -> Result<Self, ComputeError> {
        let named = ALL.iter().find(|(_, known)| *known == name);
        named
            .map(|(compute, _)| *compute)
            .ok_or_else(|| ComputeError {
                found: name.to_owned(),
            })
    }
}
