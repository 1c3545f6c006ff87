//! Tensors of a checkpoint and places where activations are seen, by name and size.

use serde::{Deserialize, Serialize};

/// A tensor a stage reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorSpec {
    /// Name in the checkpoint.
    pub name: String,
    /// Shape in the checkpoint, outermost dimension first.
    pub shape: Vec<usize>,
}

impl TensorSpec {
    /// The tensor `name` of `shape`.
    pub fn new(name: impl Into<String>, shape: impl Into<Vec<usize>>) -> Self {
        Self {
            name: name.into(),
            shape: shape.into(),
        }
    }
}

/// A place where activations are seen while a stage runs.
///
/// A linear layer has the point its input is seen at (layers with one input share it) and
/// `NAME:out` for its output, bias included; a normalisation `NAME` has `NAME:in` and `NAME:out`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Point {
    /// Name, by the rules above.
    pub name: String,
    /// Channels.
    pub width: usize,
}
