//! A weight matrix in the layouts that products read without rearranging it each time.

use super::Loader;
use super::kernels::transpose::transposed;
use crate::SourceError;
use burn::tensor::{Device, Tensor, TensorData};
use quantizers::graph::TensorSpec;
use quantizers::kernels::PackedMatrix;
use std::sync::Arc;

/// A matrix from `inputs` to `outputs`.
#[derive(Debug, Clone)]
pub enum Weight {
    /// Its values.
    Dense(Box<DenseWeight>),
    /// As it is stored; no gradient passes it, and inputs are in host memory.
    Packed(Arc<PackedMatrix>),
}

/// A matrix of values.
#[derive(Debug, Clone)]
pub struct DenseWeight {
    /// `[inputs, outputs]`, contiguous: what a forward pass multiplies with.
    pub columns: Tensor<2>,
    /// `[outputs, inputs]`, contiguous: what a gradient is sent back with; only where tapes are recorded.
    pub rows: Option<Tensor<2>>,
    /// Whether the next tokens of several texts are multiplied one after the other, so that each comes out as it does alone.
    pub keeps_rows_apart: bool,
}

impl Weight {
    /// Reads `spec`, stored as `[outputs, inputs]`, or `[inputs, outputs]` if `by_input`.
    ///
    /// # Errors
    /// A missing tensor or one of another shape.
    pub fn load(
        loader: &Loader<'_>,
        spec: &TensorSpec,
        by_input: bool,
    ) -> Result<Self, SourceError> {
        if !by_input && let Some(packed) = loader.packed(spec)? {
            return Ok(Self::Packed(packed));
        }
        let dense = loader.with_values(spec, |values| {
            let [outer, inner] = [spec.shape[0], spec.shape[1]];
            let taped = loader.device().is_autodiff();
            let keeps_rows_apart = loader.keeps_rows_apart();
            let as_stored = || matrix(values.to_vec(), [outer, inner], loader.device());
            let turned = || matrix(transposed(values, inner), [inner, outer], loader.device());
            if by_input {
                DenseWeight {
                    columns: as_stored(),
                    rows: taped.then(turned),
                    keeps_rows_apart,
                }
            } else {
                DenseWeight {
                    columns: turned(),
                    rows: taped.then(as_stored),
                    keeps_rows_apart,
                }
            }
        })?;
        Ok(Self::Dense(Box::new(dense)))
    }

    /// How many values a row of its input has.
    pub fn inputs(&self) -> usize {
        match self {
            Self::Dense(dense) => dense.columns.dims()[0],
            Self::Packed(matrix) => matrix.cols(),
        }
    }
}

fn matrix(values: Vec<f32>, shape: [usize; 2], device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values, shape), device)
}
