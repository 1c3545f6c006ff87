//! Recipe rules and matrices that a method cannot take.

use crate::nearest::did_you_mean;
use crate::{FloatType, MatrixRef};
use thiserror::Error;

/// A recipe rule that a method cannot take.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ParamError {
    /// A key the method does not have.
    #[error("unknown key `{key}` for method `{method}`")]
    UnknownKey {
        /// Method name.
        method: &'static str,
        /// The key found.
        key: String,
        /// The nearest known key.
        nearest: Option<String>,
    },
    /// A value of the wrong type or out of range.
    #[error("`{key}` of method `{method}`: expected {expected}, found {found}")]
    BadValue {
        /// Method name.
        method: &'static str,
        /// The key.
        key: String,
        /// What would do.
        expected: String,
        /// What was there.
        found: String,
    },
}

impl ParamError {
    /// The key it is about.
    pub fn key(&self) -> &str {
        match self {
            Self::UnknownKey { key, .. } | Self::BadValue { key, .. } => key,
        }
    }

    /// What the user could do about it, in one line.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownKey { nearest, .. } => nearest.as_deref().map(did_you_mean),
            Self::BadValue { .. } => None,
        }
    }
}

/// A matrix that cannot be quantized as asked.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum QuantizeError {
    /// A group size that does not divide the inputs.
    #[error("group_size {group_size} does not divide {cols} inputs")]
    GroupSize {
        /// Asked for.
        group_size: usize,
        /// Inputs of a row.
        cols: usize,
    },
    /// A matrix that tiles do not fill.
    #[error("expected multiples of 16 outputs and inputs, as codes are made of tiles of 16 x 16")]
    Tiles,
    /// A statistic the method reads was not collected.
    #[error("needs the statistic `{0}`, which was not collected")]
    MissingStat(&'static str),
    /// A statistic of another size than the weight's.
    #[error("expected {expected} values of `{stat}`, found {found}")]
    StatShape {
        /// Which statistic.
        stat: &'static str,
        /// Values needed.
        expected: usize,
        /// Values given.
        found: usize,
    },
    /// A statistic whose value cannot be one.
    #[error(
        "`{stat}` at row {row}, column {col} is {value}, expected a finite number of at least 0"
    )]
    StatValue {
        /// Which statistic.
        stat: &'static str,
        /// Row.
        row: usize,
        /// Column.
        col: usize,
        /// The value.
        value: f32,
    },
    /// A Hessian that is none: even strongly damped it has no Cholesky factor.
    #[error(
        "the Hessian is not positive definite at column {col}, even with its mean diagonal added to the diagonal"
    )]
    NotPositive {
        /// Column of the bad pivot.
        col: usize,
    },
    /// A weight that f16 tables and sparse values cannot reach.
    #[error(
        "value at row {row}, column {col} is {value}, expected at most 65504: tables are stored as f16"
    )]
    HalfRange {
        /// Row.
        row: usize,
        /// Column.
        col: usize,
        /// The value.
        value: f32,
    },
    /// Weights that the scales of a grid cannot reach.
    #[error("row {row} reaches {value}, and its scale as {stored:?} is at most {}", most(*stored))]
    ScaleRange {
        /// Row.
        row: usize,
        /// The largest weight.
        value: f32,
        /// How scales are stored.
        stored: FloatType,
    },
    /// More columns or outliers than the sparse part can index.
    #[error("{count} columns or outliers, expected less than 2^32")]
    TooLarge {
        /// How many.
        count: usize,
    },
    /// A weight or statistic that is not finite.
    #[error("value at row {row}, column {col} is {value}, expected a finite number")]
    NotFinite {
        /// Row.
        row: usize,
        /// Column.
        col: usize,
        /// The value.
        value: f32,
    },
}

impl QuantizeError {
    /// What the user could do about it, in one line.
    pub fn hint(&self) -> Option<String> {
        let (group_size, cols) = match *self {
            Self::GroupSize { group_size, cols } => (group_size, cols),
            Self::ScaleRange { .. } => {
                return Some(
                    "set `scale_type = \"f32\"` and `arithmetic = \"f32\"` in the rule, or keep the layer"
                        .to_owned(),
                );
            }
            Self::HalfRange { .. } => {
                return Some(
                    "keep the layer with `method = \"keep\"`, or use `rtn` with `scale_type = \"f32\"`"
                        .to_owned(),
                );
            }
            Self::Tiles => {
                return Some(
                    "keep the layer with `method = \"keep\"`, or name another method for it"
                        .to_owned(),
                );
            }
            _ => return None,
        };
        let divides = |size: &usize| *size > 0 && cols.is_multiple_of(*size);
        let below = (2..group_size).rev().find(divides);
        let above = (group_size + 1..=cols.min(group_size.saturating_mul(4))).find(divides);
        Some(match (below, above) {
            (Some(below), Some(above)) => {
                format!("{below} and {above} do, or set `group_size_fallback`")
            }
            (Some(size), None) | (None, Some(size)) => {
                format!("{size} does, or set `group_size_fallback`")
            }
            (None, None) => "set `group_size_fallback`".to_owned(),
        })
    }
}

/// The largest scale a type holds.
pub(super) fn most(stored: FloatType) -> f32 {
    match stored {
        FloatType::F16 => half::f16::MAX.to_f32(),
        FloatType::Bf16 => half::bf16::MAX.to_f32(),
        FloatType::F32 => f32::MAX,
    }
}

/// Refuses a weight that is not finite, saying where.
pub(crate) fn require_finite(weight: MatrixRef<'_>) -> Result<(), QuantizeError> {
    match weight.first_not_finite() {
        None => Ok(()),
        Some((row, col, value)) => Err(QuantizeError::NotFinite { row, col, value }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_size_that_does_not_divide_comes_with_sizes_that_do() {
        let hint = |group_size, cols| {
            QuantizeError::GroupSize { group_size, cols }
                .hint()
                .unwrap()
        };
        assert_eq!(
            hint(100, 3072),
            "96 and 128 do, or set `group_size_fallback`"
        );
        assert_eq!(hint(128, 96), "96 does, or set `group_size_fallback`");
        assert_eq!(hint(2, 7), "7 does, or set `group_size_fallback`");
        assert_eq!(hint(2, 11), "set `group_size_fallback`");
    }
}
