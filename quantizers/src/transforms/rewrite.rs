//! A checkpoint rewritten as a whole: which tensors another one has in their place, and how each is made of what was
//! there.
//!
//! Nothing is computed until a tensor is asked for, and then that tensor alone.

use super::error::TransformError;
use std::fmt::Debug;
use std::sync::Arc;

/// How the values of one tensor become others.
pub trait Rewriting: Debug + Send + Sync {
    /// The new values, row-major, from those of the tensor it is made of and those of [`RewrittenTensor::reads`], in
    /// that order.
    ///
    /// # Errors
    /// A tensor that has not as many values as its shape says.
    fn values(&self, source: Vec<f32>, read: &[Vec<f32>]) -> Result<Vec<f32>, TransformError>;
}

/// A tensor of the rewritten checkpoint.
#[derive(Debug, Clone)]
pub struct RewrittenTensor {
    /// Its name, that of a tensor there was or a new one.
    pub name: String,
    /// The tensor of the original that it is made of, whose type it has.
    pub source: String,
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
    /// Further tensors of the original whose values it depends on.
    pub reads: Vec<String>,
    /// How it is made.
    pub rewriting: Arc<dyn Rewriting>,
}

/// A checkpoint that computes what the original does with other tensors.
#[derive(Debug, Clone, Default)]
pub struct CheckpointRewrite {
    /// The tensors that differ, by name; all others are as they were.
    pub tensors: Vec<RewrittenTensor>,
    /// The head is a tensor of its own and differs from the token table, whatever config.json said before.
    pub separate_head: bool,
    /// What was left as it is, and what else a reader should know.
    pub notes: Vec<String>,
}
