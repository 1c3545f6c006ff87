//! The feed-forward half of a block, plain or gated.

use super::linear::Linear;
use super::{Loader, fused};
use crate::{SourceError, Tap};
use burn::tensor::Tensor;
use quantizers::graph::{Activation, FeedForwardNode};

/// A feed-forward network with its weights.
#[derive(Debug, Clone)]
pub struct Mlp {
    gate: Option<Linear>,
    up: Linear,
    down: Linear,
    activation: Activation,
}

impl Mlp {
    /// Reads the layers of `node`.
    ///
    /// # Errors
    /// A missing tensor or one of another shape.
    pub fn load(node: &FeedForwardNode, loader: &Loader<'_>) -> Result<Self, SourceError> {
        let gate = node.gate.as_ref();
        Ok(Self {
            gate: gate.map(|gate| Linear::load(gate, loader)).transpose()?,
            up: Linear::load(&node.up, loader)?,
            down: Linear::load(&node.down, loader)?,
            activation: node.activation,
        })
    }

    /// `down(f(up(x)))`, or gated `down(f(gate(x)) · up(x))`; before the residual is added.
    pub fn forward(&self, input: Tensor<3>, tap: &mut dyn Tap) -> Tensor<3> {
        self.up.observe(&input, tap);
        let inner = match &self.gate {
            Some(gate) => {
                let gate = gate.forward(input.clone(), tap);
                fused::gate(self.activation, gate, self.up.forward(input, tap))
            }
            None => fused::activate(self.activation, self.up.forward(input, tap)),
        };
        self.down.observe(&inner, tap);
        self.down.forward(inner, tap)
    }
}
