//! The tensors a stage needs, by name and shape, and how they are read.

use super::LinearSpec;
use crate::model::Point;
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
    pub fn read<const D: usize>(&self, spec: &TensorSpec) -> Result<Tensor<D>, SourceError> {
        let stored = self.source.tensor(&spec.name)?;
        if stored.shape != spec.shape || spec.shape.len() != D {
            return Err(SourceError::Shape {
                name: spec.name.clone(),
                expected: spec.shape.clone(),
                found: stored.shape,
            });
        }
        let data = TensorData::new(stored.data.into_owned(), stored.shape);
        self.source.release(&spec.name);
        Ok(Tensor::from_data(data, self.device))
    }

    /// Reads a matrix whose gradient is wanted: on an autodiff device it is a leaf of the tape.
    ///
    /// # Errors
    /// As [`Loader::read`].
    pub fn read_tracked(&self, spec: &TensorSpec) -> Result<Tensor<2>, SourceError> {
        let weight = self.read::<2>(spec)?;
        Ok(if self.device.is_autodiff() {
            weight.require_grad()
        } else {
            weight
        })
    }
}
