//! Errors of programs and of the operations in them.

use super::arithmetic::ArithmeticError;
use super::interval::WidthError;
use thiserror::Error;

/// An operation whose constants do not fit its buffers or weights.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OperationError {
    /// A length or type.
    #[error("{what}: expected {expected}, found {found}")]
    Shape {
        /// Which.
        what: String,
        /// What would do.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A value that could overflow.
    #[error(transparent)]
    Width(#[from] WidthError),
}

/// A program that cannot be read, prepared or run.
#[derive(Debug, Error)]
pub enum ProgramError {
    /// A part of `integer_program.json` that is not as documented.
    #[error("integer_program.json: `{place}`: expected {expected}, found {found}")]
    Place {
        /// Key.
        place: String,
        /// What would do.
        expected: String,
        /// What is there.
        found: String,
    },
    /// JSON that does not fit its operation.
    #[error("integer_program.json: `{place}`")]
    Json {
        /// Key.
        place: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A tensor that is not there or cannot be read.
    #[error("cannot read integer tensor `{name}`")]
    Tensor {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A value that would not fit.
    #[error("operation {at} (`{kind}`)")]
    Width {
        /// Position of the operation.
        at: usize,
        /// Its kind.
        kind: &'static str,
        /// The value.
        #[source]
        source: WidthError,
    },
    /// A fault of checked arithmetic.
    #[error("operation {at} (`{kind}`)")]
    Arithmetic {
        /// Position of the operation.
        at: usize,
        /// Its kind.
        kind: &'static str,
        /// What happened.
        #[source]
        source: ArithmeticError,
    },
    /// An input the program does not take.
    #[error("{what}: expected {expected}, found {found}")]
    Input {
        /// Which.
        what: &'static str,
        /// What would do.
        expected: String,
        /// What came.
        found: String,
    },
}
