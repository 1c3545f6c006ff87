//! What a transform changes in a checkpoint.

use std::collections::BTreeMap;

/// A tensor with new values.
#[derive(Debug, Clone, PartialEq)]
pub struct EditedTensor {
    /// Shape as in the checkpoint, outermost dimension first.
    pub shape: Vec<usize>,
    /// Values, row-major.
    pub values: Vec<f32>,
}

/// Tensors of a checkpoint with new values, by name; all others are as they were.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct BlockEdit {
    tensors: BTreeMap<String, EditedTensor>,
}

impl BlockEdit {
    /// The new values of tensor `name`; `None` where it is unchanged.
    pub fn tensor(&self, name: &str) -> Option<&EditedTensor> {
        self.tensors.get(name)
    }

    /// Gives tensor `name` new values.
    pub fn set(&mut self, name: impl Into<String>, tensor: EditedTensor) {
        self.tensors.insert(name.into(), tensor);
    }

    /// Every tensor that has new values, by name.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &EditedTensor)> {
        self.tensors
            .iter()
            .map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }
}
