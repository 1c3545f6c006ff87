//! Parameters that both tensors and single rows are computed with.

use super::fused::HostValues;
use burn::tensor::Tensor;
use std::sync::OnceLock;

/// A tensor of parameters, and its values in host memory once a row has asked for them: to look them up through the tensor
/// takes longer than what a row is computed in.
#[derive(Debug, Clone)]
pub struct Constant<const D: usize> {
    tensor: Tensor<D>,
    values: OnceLock<HostValues>,
}

impl<const D: usize> Constant<D> {
    /// The tensor.
    pub fn tensor(&self) -> &Tensor<D> {
        &self.tensor
    }

    /// Its values, row-major.
    pub fn values(&self) -> &[f32] {
        self.values.get_or_init(|| HostValues::of(&self.tensor))
    }
}

impl<const D: usize> From<Tensor<D>> for Constant<D> {
    fn from(tensor: Tensor<D>) -> Self {
        Self {
            tensor,
            values: OnceLock::new(),
        }
    }
}
