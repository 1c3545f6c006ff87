//! The tensors a stage needs, by name and shape, and how they are read.

use super::LinearSpec;
use crate::model::Point;
use crate::weight_source::Tensor32;
use crate::{SourceError, WeightSource};
use burn::tensor::{Device, Tensor, TensorData};

/// A tensor a stage reads.
#[derive(Debug, Clone, PartialEq, Eq)]
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

/// Everything one stage reads, in execution order.
#[derive(Debug, Clone, Default)]
pub struct Inventory {
    /// Tensors, each once.
    pub tensors: Vec<TensorSpec>,
    /// The linear layers among them that can be quantized.
    pub linears: Vec<LinearSpec>,
    /// Where a [`crate::Tap`] sees something, each once.
    pub points: Vec<Point>,
}

impl Inventory {
    /// Notes that `tensor` is read.
    pub fn tensor(&mut self, tensor: TensorSpec) {
        self.tensors.push(tensor);
    }

    /// Notes that activations of `width` channels are seen at `name`.
    pub fn point(&mut self, name: impl Into<String>, width: usize) {
        let name = name.into();
        if self.points.iter().all(|point| point.name != name) {
            self.points.push(Point { name, width });
        }
    }
}

/// Reads the tensors of one stage onto a device.
#[derive(Clone, Copy)]
pub struct Loader<'a> {
    source: &'a dyn WeightSource,
    device: &'a Device,
}

impl<'a> Loader<'a> {
    /// Reads from `source` onto `device`.
    pub fn new(source: &'a dyn WeightSource, device: &'a Device) -> Self {
        Self { source, device }
    }

    /// The device tensors are read onto.
    pub fn device(&self) -> &'a Device {
        self.device
    }

    /// Reads a tensor of `D` dimensions; no gradient is tracked for it.
    ///
    /// # Errors
    /// A missing or unreadable tensor, or another shape than `spec` says.
    ///
    /// # Panics
    /// `spec` has another number of dimensions.
    pub fn read<const D: usize>(&self, spec: &TensorSpec) -> Result<Tensor<D>, SourceError> {
        assert_eq!(spec.shape.len(), D, "dimensions of `{}`", spec.name);
        let stored = self.stored(spec)?;
        let data = TensorData::new(stored.data.into_owned(), stored.shape);
        self.source.release(&spec.name);
        Ok(Tensor::from_data(data, self.device))
    }

    /// Lends the values of a tensor, row-major.
    ///
    /// # Errors
    /// As [`Loader::read`].
    pub fn with_values<T>(
        &self,
        spec: &TensorSpec,
        body: impl FnOnce(&[f32]) -> T,
    ) -> Result<T, SourceError> {
        let result = body(&self.stored(spec)?.data);
        self.source.release(&spec.name);
        Ok(result)
    }

    fn stored(&self, spec: &TensorSpec) -> Result<Tensor32<'a>, SourceError> {
        let stored = self.source.tensor(&spec.name)?;
        if stored.shape == spec.shape {
            return Ok(stored);
        }
        Err(SourceError::Shape {
            name: spec.name.clone(),
            expected: spec.shape.clone(),
            found: stored.shape,
        })
    }
}
