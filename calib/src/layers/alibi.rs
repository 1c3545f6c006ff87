//! Attention with linear biases (Press et al. 2022): the farther a key, the lower its score.

use burn::tensor::{Device, Tensor, TensorData};
use quantizers::graph::SlopesNode;

/// A bias for each head that rises with the position of the key. For one query it differs from minus
/// slope times distance by a constant, which the softmax does not see.
#[derive(Debug, Clone, PartialEq)]
pub struct Alibi(SlopesNode);

impl Alibi {
    /// With the slopes of `node`.
    pub fn new(node: &SlopesNode) -> Self {
        Self(node.clone())
    }

    /// `[1, heads, 1, keys]`.
    pub fn bias(&self, keys: usize, device: &Device) -> Tensor<4> {
        let node = &self.0;
        let mut values = Vec::with_capacity(node.slopes.len() * keys);
        for slope in &node.slopes {
            values.extend((0..keys).map(|position| {
                let product = node.rounded.round(slope * position as f32);
                product * node.factor
            }));
        }
        Tensor::from_data(
            TensorData::new(values, [1, node.slopes.len(), 1, keys]),
            device,
        )
    }
}
