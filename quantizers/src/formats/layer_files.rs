//! The tensors of one layer in an opened folder, read with their types and shapes checked.

use super::entry::WEIGHT_SHAPE;
use super::floats::float_type_of;
use super::{FormatError, TensorFolder, TensorInfo};
use crate::FloatType;
use crate::tensor::{InvalidTensor, QuantizedTensor};
use half::f16;
use safetensors::Dtype;
use std::borrow::Cow;

/// Longest side of a matrix that is believed; beyond it sizes in bits could overflow.
const LONGEST_SIDE: usize = 1 << 40;

/// A layer of an opened folder.
#[derive(Clone, Copy)]
pub(crate) struct LayerFiles<'a> {
    pub(crate) folder: &'a TensorFolder,
    pub(crate) layer: &'a str,
}

impl<'a> LayerFiles<'a> {
    pub(crate) fn name(&self, suffix: &str) -> String {
        format!("{}.{suffix}", self.layer)
    }

    pub(crate) fn info(&self, suffix: &str) -> Option<&'a TensorInfo> {
        self.folder.info(&self.name(suffix))
    }

    /// `[out, in]` from `weight_shape`.
    pub(crate) fn matrix_shape(&self) -> Result<(usize, usize), FormatError> {
        let name = self.name(WEIGHT_SHAPE);
        let info = self.folder.require(&name)?;
        if info.dtype != Dtype::I64 {
            return Err(type_error(name, "I64", info.dtype));
        }
        let sizes: Vec<usize> = (self.folder.bytes(&name)?.as_chunks::<8>().0.iter())
            .map(|size| usize::try_from(i64::from_le_bytes(*size)).unwrap_or(usize::MAX))
            .collect();
        match sizes[..] {
            [rows, cols] if believable(rows, cols) => Ok((rows, cols)),
            [_, _] => Err(FormatError::BadMatrix { name, shape: sizes }),
            _ => Err(FormatError::TensorShape {
                name,
                expected: vec![2],
                found: info.shape.clone(),
            }),
        }
    }

    /// Raw bytes of a tensor of type `dtype` and `shape`.
    pub(crate) fn bytes(
        &self,
        suffix: &str,
        dtype: Dtype,
        expected: &'static str,
        shape: &[usize],
    ) -> Result<Cow<'a, [u8]>, FormatError> {
        let name = self.name(suffix);
        let info = self.folder.require(&name)?;
        if info.dtype != dtype {
            return Err(type_error(name, expected, info.dtype));
        }
        if info.shape != shape {
            let (expected, found) = (shape.to_vec(), info.shape.clone());
            return Err(FormatError::TensorShape {
                name,
                expected,
                found,
            });
        }
        self.folder.bytes(&name)
    }

    /// An I32 tensor as unsigned words.
    pub(crate) fn words(&self, suffix: &str, shape: &[usize]) -> Result<Vec<u32>, FormatError> {
        let bytes = self.bytes(suffix, Dtype::I32, "I32", shape)?;
        Ok(bytes
            .as_chunks::<4>()
            .0
            .iter()
            .map(|word| u32::from_le_bytes(*word))
            .collect())
    }

    /// An I8 tensor.
    pub(crate) fn signed_bytes(
        &self,
        suffix: &str,
        shape: &[usize],
    ) -> Result<Vec<i8>, FormatError> {
        let bytes = self.bytes(suffix, Dtype::I8, "I8", shape)?;
        Ok(bytes.iter().map(|byte| byte.cast_signed()).collect())
    }

    /// An F16 tensor.
    pub(crate) fn halves(&self, suffix: &str, shape: &[usize]) -> Result<Vec<f16>, FormatError> {
        let bytes = self.bytes(suffix, Dtype::F16, "F16", shape)?;
        Ok(bytes
            .as_chunks::<2>()
            .0
            .iter()
            .map(|half| f16::from_le_bytes(*half))
            .collect())
    }

    /// A float tensor of as many elements as `shape` has, and how it is stored.
    pub(crate) fn floats(
        &self,
        suffix: &str,
        shape: &[usize],
    ) -> Result<(Vec<f32>, FloatType), FormatError> {
        let name = self.name(suffix);
        let info = self.folder.require(&name)?;
        let stored = float_type_of(info.dtype)
            .ok_or_else(|| type_error(name.clone(), "F32, F16 or BF16", info.dtype))?;
        // Writers disagree on `[out]` and `[out, 1]`, `[]` and `[1]`.
        if info.elements() != shape.iter().product::<usize>() {
            let (expected, found) = (shape.to_vec(), info.shape.clone());
            return Err(FormatError::TensorShape {
                name,
                expected,
                found,
            });
        }
        Ok((self.folder.floats(&name)?.into_owned(), stored))
    }

    /// Checks what was decoded.
    pub(crate) fn checked(&self, tensor: QuantizedTensor) -> Result<QuantizedTensor, FormatError> {
        tensor.check().map_err(|source| self.invalid(source))?;
        Ok(tensor)
    }

    pub(crate) fn invalid(&self, source: InvalidTensor) -> FormatError {
        FormatError::Layer {
            layer: self.layer.to_owned(),
            source,
        }
    }
}

/// Whether a matrix of that shape can be counted in bits without overflow.
pub(crate) fn believable(rows: usize, cols: usize) -> bool {
    rows <= LONGEST_SIDE && cols <= LONGEST_SIDE && rows.saturating_mul(cols) <= LONGEST_SIDE
}

pub(crate) fn type_error(name: String, expected: &'static str, found: Dtype) -> FormatError {
    FormatError::TensorType {
        name,
        expected,
        found,
    }
}
