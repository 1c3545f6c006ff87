//! A tensor whose values are computed from what is stored for it: layers that another program quantized, and
//! floats of a width that no model computes in.

use super::{FormatError, TensorFolder};
use crate::tensor::FloatType;
use std::fmt::Debug;
use std::sync::Arc;

/// How the values of one tensor come out of a folder. It has checked types and shapes when it was made.
pub trait Reading: Debug + Send + Sync {
    /// The values, row-major, as many as the shape has.
    ///
    /// # Errors
    /// A part that is missing or holds what its form does not allow.
    fn values(&self, folder: &TensorFolder) -> Result<Vec<f32>, FormatError>;

    /// Those of slice `index` of the outermost dimension, `elements` of them. Forms that have stacked tensors read no
    /// more than that.
    ///
    /// # Errors
    /// As [`Self::values`].
    fn slice(
        &self,
        folder: &TensorFolder,
        index: usize,
        elements: usize,
    ) -> Result<Vec<f32>, FormatError> {
        let mut values = self.values(folder)?;
        values.truncate((index + 1) * elements);
        Ok(values.split_off(index * elements))
    }

    /// How many tensors are made of the same parts.
    fn sharers(&self) -> usize {
        1
    }
}

/// One slice of a stacked tensor.
#[derive(Debug)]
struct Slice {
    whole: Arc<dyn Reading>,
    index: usize,
    count: usize,
    elements: usize,
}

impl Reading for Slice {
    fn values(&self, folder: &TensorFolder) -> Result<Vec<f32>, FormatError> {
        self.whole.slice(folder, self.index, self.elements)
    }

    fn sharers(&self) -> usize {
        self.count
    }
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

    /// Stored bytes of all parts in `folder`; its share of them, where others are made of them as well.
    pub fn stored_bytes(&self, folder: &TensorFolder) -> u64 {
        let parts = self.parts.iter().filter_map(|part| folder.info(part));
        let bytes: u64 = parts.map(|info| info.bytes as u64).sum();
        bytes / self.reading.sharers().max(1) as u64
    }

    /// The slices of the outermost dimension as tensors of their own.
    pub(super) fn slices(self) -> Vec<Self> {
        let Some((&count, shape)) = self.shape.split_first() else {
            return vec![self];
        };
        let elements = shape.iter().product();
        let whole: Arc<dyn Reading> = Arc::from(self.reading);
        let slice = |index| Self {
            shape: shape.to_vec(),
            stored: self.stored.clone(),
            parts: self.parts.clone(),
            reading: Box::new(Slice {
                whole: Arc::clone(&whole),
                index,
                count,
                elements,
            }),
            ..self
        };
        (0..count).map(slice).collect()
    }
}
