//! A block that a transform cannot rewrite.

use std::error::Error;
use thiserror::Error;

/// What stands in the way.
#[derive(Debug, Error)]
pub enum TransformError {
    /// A statistic that was not collected.
    #[error("needs the statistic `{statistic}` at `{point}`, which was not collected")]
    MissingStatistic {
        /// Point.
        point: String,
        /// Statistic.
        statistic: &'static str,
    },
    /// A statistic or activation of another size than the graph says.
    #[error("`{name}`: expected {expected} values, found {found}")]
    Size {
        /// Tensor or point.
        name: String,
        /// By the graph.
        expected: usize,
        /// What came.
        found: usize,
    },
    /// A value that is not finite.
    #[error("`{name}`: value {at} is {value}, expected a finite number")]
    NotFinite {
        /// Tensor or point.
        name: String,
        /// Position in row-major order.
        at: usize,
        /// The value.
        value: f32,
    },
    /// A model in which the transform would change nothing.
    #[error("nothing in `{architecture}` can be rewritten: {reason}")]
    Nothing {
        /// Family of the model.
        architecture: String,
        /// The first layers it could have been, and what is in the way.
        reason: String,
    },
    /// A model that is wired so that the transform would change what it computes.
    #[error("`{architecture}` cannot be rewritten: {reason}")]
    Refused {
        /// Family of the model.
        architecture: String,
        /// What is in the way.
        reason: String,
    },
    /// A block that cannot be read or run.
    #[error("cannot run the block with `{name}`")]
    Runner {
        /// Tensor, layer or point asked for.
        name: String,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}
