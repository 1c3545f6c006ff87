//! Quantization methods: one matrix in, one quantized matrix out.
//!
//! Adding one is a new file here plus two lines: the `mod` line and the entry in [`METHODS`].

pub mod grid_parameters;
pub mod parameters;
mod clipping;
pub mod gptq;
mod kmeans;
mod plan;
mod rtn;
mod squeezellm;

pub use plan::{Cost, LayerPlan, Quantized, Sequential};

use crate::nearest::did_you_mean;
use crate::statistics::LayerStats;
use crate::{FloatType, MatrixRef};
use thiserror::Error;

/// Every method, in the order `quench list methods` prints them.
pub static METHODS: &[&dyn Method] = &[
    &rtn::Rtn,
    &gptq::Gptq,
    &kmeans::KMeans,
    &squeezellm::SqueezeLlm,
];

/// A method as recipes name it.
pub trait Method: Sync {
    /// Name in recipes.
    fn name(&self) -> &'static str;
    /// One line for `quench list methods`.
    fn summary(&self) -> &'static str;
    /// Parameter names accepted by [`Method::configure`], with one line of help each.
    fn parameters(&self) -> &'static [(&'static str, &'static str)];
    /// Turns a recipe rule (without `match` and `method`) into a quantizer.
    ///
    /// # Errors
    /// An unknown key, a value of the wrong type or out of range.
    fn configure(&self, table: &toml::Table) -> Result<Box<dyn Quantizer>, ParamError>;
}

/// A configured method.
pub trait Quantizer: Send + Sync {
    /// What will be done to a layer `[rows, cols]` that the checkpoint stores as `stored`: all the planner ever
    /// asks. Checks that the shape suits the parameters.
    ///
    /// # Errors
    /// A shape the parameters do not suit, e.g. a group size that does not divide `cols`.
    fn plan(&self, rows: usize, cols: usize, stored: FloatType)
    -> Result<LayerPlan, QuantizeError>;
    /// Quantizes `weight` as `plan`, made by [`Quantizer::plan`] for its shape, says.
    ///
    /// # Errors
    /// A missing statistic, a value that is not finite or out of range.
    fn quantize(
        &self,
        weight: MatrixRef<'_>,
        plan: &LayerPlan,
        stats: &LayerStats<'_>,
    ) -> Result<Quantized, QuantizeError>;
}

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
    #[error("the Hessian is not positive definite at column {col}, however much it is damped")]
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
        let Self::GroupSize { group_size, cols } = *self else {
            return None;
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
    fn names_are_unique_and_every_parameter_has_help() {
        for (i, method) in METHODS.iter().enumerate() {
            assert!(
                METHODS[..i]
                    .iter()
                    .all(|other| other.name() != method.name())
            );
            assert!(!method.summary().is_empty());
            for (name, help) in method.parameters() {
                assert!(!help.is_empty(), "`{name}` of `{}`", method.name());
            }
        }
    }

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
