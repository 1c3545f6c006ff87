//! The feed-forward half of a block, plain or gated.

use super::linear::Linear;
use super::{Activation, Inventory, LinearSpec, Loader};
use crate::{SourceError, Tap};
use burn::tensor::Tensor;

/// What a feed-forward network reads.
#[derive(Debug, Clone, PartialEq)]
pub struct MlpSpec {
    /// `[inner, width]`, passed through the activation and multiplied with `up` (gated only).
    pub gate: Option<LinearSpec>,
    /// `[inner, width]`; passed through the activation unless there is a gate.
    pub up: LinearSpec,
    /// `[width, inner]`.
    pub down: LinearSpec,
    /// The nonlinearity.
    pub activation: Activation,
}

impl MlpSpec {
    /// Adds its layers and tensors to `inventory`.
    pub fn list(&self, inventory: &mut Inventory) {
        for layer in self.gate.iter().chain([&self.up, &self.down]) {
            layer.list(inventory);
        }
    }

    /// Reads the layer.
    ///
    /// # Errors
    /// A missing tensor or one of another shape.
    pub fn load(&self, loader: &Loader<'_>) -> Result<Mlp, SourceError> {
        Ok(Mlp {
            gate: self
                .gate
                .as_ref()
                .map(|gate| gate.load(loader))
                .transpose()?,
            up: self.up.load(loader)?,
            down: self.down.load(loader)?,
            activation: self.activation,
        })
    }
}

/// A feed-forward network with its weights.
#[derive(Debug, Clone)]
pub struct Mlp {
    gate: Option<Linear>,
    up: Linear,
    down: Linear,
    activation: Activation,
}

impl Mlp {
    /// `down(f(up(x)))`, or gated `down(f(gate(x)) · up(x))`; before the residual is added.
    pub fn forward(&self, input: Tensor<3>, tap: &mut dyn Tap) -> Tensor<3> {
        self.up.observe(&input, tap);
        let inner = match &self.gate {
            Some(gate) => {
                let gate = gate.forward(input.clone(), tap);
                self.activation.gate(gate, self.up.forward(input, tap))
            }
            None => self.activation.forward(self.up.forward(input, tap)),
        };
        self.down.observe(&inner, tap);
        self.down.forward(inner, tap)
    }
}
