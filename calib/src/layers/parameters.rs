//! How the tensors of a stage are read.

use crate::weight_source::Tensor32;
use crate::{SourceError, WeightSource};
use burn::tensor::{Device, Tensor, TensorData};
use quantizers::graph::TensorSpec;
use quantizers::grid::InputQuantizer;
use quantizers::kernels::PackedMatrix;
use std::sync::Arc;

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

    /// How the inputs of the linear layer `layer` are rounded.
    ///
    /// # Errors
    /// A stored scale that cannot be read.
    pub fn input_quantizer(&self, layer: &str) -> Result<Option<InputQuantizer>, SourceError> {
        self.source.input_quantizer(layer)
    }

    /// Whether each of a few rows is multiplied alone.
    pub fn keeps_rows_apart(&self) -> bool {
        self.source.keeps_rows_apart()
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

    /// The matrix `spec`, where it is to be multiplied in the form it is stored in.
    ///
    /// # Errors
    /// As [`Loader::read`].
    pub fn packed(&self, spec: &TensorSpec) -> Result<Option<Arc<PackedMatrix>>, SourceError> {
        let Some(packed) = self.source.packed(&spec.name)? else {
            return Ok(None);
        };
        let found = vec![packed.rows(), packed.cols()];
        if found != spec.shape {
            return Err(SourceError::Shape {
                name: spec.name.clone(),
                expected: spec.shape.clone(),
                found,
            });
        }
        Ok(Some(packed))
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
