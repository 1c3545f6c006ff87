//! A model that cannot be compiled.

use super::graph::GraphError;
use super::source::SourceError;
use crate::integer::{Fault, ProgramError};
use crate::nonlinear::Refusal;
use thiserror::Error;

/// What stands in the way.
#[derive(Debug, Error)]
pub enum CompileError {
    /// A weight or statistic that cannot be had.
    #[error("cannot compile `{name}`")]
    Source {
        /// Tensor, layer or point.
        name: String,
        /// Why.
        #[source]
        source: SourceError,
    },
    /// A statistic that was not collected.
    #[error("calibration of `{point}` lacks its {statistic}")]
    Missing {
        /// The point.
        point: String,
        /// What is absent.
        statistic: &'static str,
    },
    /// A model with an operation that programs do not have.
    #[error(transparent)]
    Encoder(#[from] GraphError),
    /// A graph without something a program needs.
    #[error("the graph of the model has no {what}")]
    Graph {
        /// What it lacks.
        what: String,
    },
    /// A tensor of another size than the graph says.
    #[error("`{name}`: expected {expected} values, found {found}")]
    Size {
        /// Tensor.
        name: String,
        /// By the graph.
        expected: usize,
        /// In the checkpoint.
        found: usize,
    },
    /// Quantized weights that an integer product cannot take.
    #[error("`{layer}`: expected symmetric uniform weights, one scale per channel, found {found}")]
    Weights {
        /// The layer.
        layer: String,
        /// What its method gave.
        found: &'static str,
    },
    /// An approximation that cannot take a slot.
    #[error("slot `{slot}`")]
    Refused {
        /// The slot.
        slot: String,
        /// Why.
        #[source]
        source: Refusal,
    },
    /// A kernel that cannot be run on the samples of its slot.
    #[error("slot `{slot}` cannot be measured")]
    Fault {
        /// The slot.
        slot: String,
        /// Why.
        #[source]
        source: Fault,
    },
    /// No family could take a slot.
    #[error("slot `{slot}`: none of {families} can take it: {reasons}")]
    NoCandidate {
        /// The slot.
        slot: String,
        /// Those allowed.
        families: String,
        /// Why each could not.
        reasons: String,
    },
    /// A family without an approximation of this function.
    #[error("no approximation `{family}` of {function}")]
    Unknown {
        /// The family.
        family: String,
        /// The function.
        function: &'static str,
    },
    /// A result that does not pass its own analysis.
    #[error("the compiled program is not sound")]
    Program(#[from] ProgramError),
}
