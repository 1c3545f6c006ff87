//! A tensor whose values are computed from what is stored for it: layers that another program quantized, and
//! floats of a width that no model computes in.

use super::{FormatError, TensorFolder};
use crate::tensor::FloatType;
use std::fmt::Debug;

/// How the values of one tensor come out of a folder. It has checked types and shapes when it was made.
pub trait Reading: Debug + Send + Sync {
    /// The values, row-major, as many as the shape has.
    ///
    /// # Errors
    /// A part that is missing or holds what its form does not allow.
    fn values(&self, folder: &TensorFolder) -> Result<Vec<f32>, FormatError>;
}

/// A tensor that is stored in another form than its values.
#[derive(Debug)]
pub struct DecodedTensor {
    /// Dimensions of the values, outermost first.
    pub shape: Vec<usize>,
    /// How it is stored, in words: `gptq 4 bit, group 128`.
    pub stored: String,
    /// Whether fewer bits than a float of 16 are stored for a weight.
    pub quantized: bool,
    /// Whether engines round the inputs of this layer as well, which is not done here.
    pub rounds_inputs: bool,
    /// The type its values had before, where the files say so.
    pub float_type: Option<FloatType>,
    /// The stored tensors it is made of, its weights first.
    pub parts: Vec<String>,
    /// Reads the values.
    pub reading: Box<dyn Reading>,
}

impl DecodedTensor {
    /// Number of values.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Reads the values, row-major.
    ///
    /// # Errors
    /// A part that is missing or holds what its form does not allow.
    pub fn values(&self, folder: &TensorFolder) -> Result<Vec<f32>, FormatError> {
        self.reading.values(folder)
    }

    /// Stored bytes of all parts in `folder`.
    pub fn stored_bytes(&self, folder: &TensorFolder) -> u64 {
        let parts = self.parts.iter().filter_map(|part| folder.info(part));
        parts.map(|info| info.bytes as u64).sum()
    }
}
