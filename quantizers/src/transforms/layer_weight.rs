//! The weight of a linear layer as `[rows, cols]`, however the checkpoint stores it.

use super::edit::{BlockEdit, EditedTensor};
use super::error::TransformError;
use super::runner::BlockRunner;
use crate::MatrixRef;
use crate::graph::{LinearNode, TensorSpec};

/// The tensor `spec` as `edit` has it, or as the checkpoint does.
pub(super) fn current(
    spec: &TensorSpec,
    edit: &BlockEdit,
    runner: &dyn BlockRunner,
) -> Result<EditedTensor, TransformError> {
    let tensor = match edit.tensor(&spec.name) {
        Some(tensor) => tensor.clone(),
        None => runner.tensor(&spec.name)?,
    };
    let expected: usize = spec.shape.iter().product();
    if tensor.values.len() != expected {
        return Err(TransformError::Size {
            name: spec.name.clone(),
            expected,
            found: tensor.values.len(),
        });
    }
    finite(&spec.name, &tensor.values)?;
    Ok(tensor)
}

/// Refuses values that are not finite.
pub(super) fn finite(name: &str, values: &[f32]) -> Result<(), TransformError> {
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(at) => Err(TransformError::NotFinite {
            name: name.to_owned(),
            at,
            value: values[at],
        }),
    }
}

/// A weight `[rows, cols]`, row = output channel.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LayerWeight {
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) values: Vec<f32>,
}

impl LayerWeight {
    /// The weight of `layer` as `edit` has it.
    pub(super) fn read(
        layer: &LinearNode,
        edit: &BlockEdit,
        runner: &dyn BlockRunner,
    ) -> Result<Self, TransformError> {
        let stored = current(&layer.weight(), edit, runner)?.values;
        let (rows, cols) = (layer.rows, layer.cols);
        Ok(Self {
            rows,
            cols,
            values: if layer.transposed {
                transposed(&stored, rows)
            } else {
                stored
            },
        })
    }

    /// Makes it the weight of `layer` in `edit`.
    pub(super) fn write(self, layer: &LinearNode, edit: &mut BlockEdit) {
        let TensorSpec { name, shape } = layer.weight();
        let values = if layer.transposed {
            transposed(&self.values, self.cols)
        } else {
            self.values
        };
        edit.set(name, EditedTensor { shape, values });
    }

    /// Borrowed, for quantizers.
    pub(super) fn matrix(&self, layer: &LinearNode) -> Result<MatrixRef<'_>, TransformError> {
        MatrixRef::new(&self.values, self.rows, self.cols).map_err(|source| {
            TransformError::Runner {
                name: layer.name.clone(),
                source: Box::new(source),
            }
        })
    }

    /// Multiplies each column with its factor.
    pub(super) fn scale_columns(&mut self, factors: &[f32]) {
        for row in self.values.chunks_exact_mut(self.cols) {
            for (value, factor) in row.iter_mut().zip(factors) {
                *value *= factor;
            }
        }
    }

    /// Divides each column by its factor.
    pub(super) fn unscale_columns(&mut self, factors: &[f32]) {
        for row in self.values.chunks_exact_mut(self.cols) {
            for (value, factor) in row.iter_mut().zip(factors) {
                *value /= factor;
            }
        }
    }

    /// Largest magnitude of each column, `[cols]`.
    pub(super) fn column_maxima(&self) -> Vec<f32> {
        let mut maxima = vec![0.0_f32; self.cols];
        for row in self.values.chunks_exact(self.cols) {
            for (most, value) in maxima.iter_mut().zip(row) {
                *most = most.max(value.abs());
            }
        }
        maxima
    }
}

/// Row-major `[values / width, width]` turned.
fn transposed(values: &[f32], width: usize) -> Vec<f32> {
    let height = values.len() / width.max(1);
    let mut turned = Vec::with_capacity(values.len());
    for column in 0..width {
        turned.extend((0..height).map(|row| values[row * width + column]));
    }
    turned
}
