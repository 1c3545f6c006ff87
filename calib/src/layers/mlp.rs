//! The feed-forward half of a block, plain or gated.

use super::linear::Linear;
use super::{Loader, fused};
use crate::{SourceError, Tap};
use burn::tensor::{Tensor, activation};
use quantizers::graph::{Activation, FeedForwardNode, Gate};

#[expect(clippy::large_enum_variant, reason = "one per network")]
#[derive(Debug, Clone)]
enum LoadedGate {
    None,
    Layer(Linear),
    FirstHalf,
    SecondHalf,
    Alternating { alpha: f64, limit: f64 },
}

/// A feed-forward network with its weights.
#[derive(Debug, Clone)]
pub struct Mlp {
    gate: LoadedGate,
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
        Ok(Self {
            gate: match &node.gate {
                Gate::None => LoadedGate::None,
                Gate::Layer(gate) => LoadedGate::Layer(Linear::load(gate, loader)?),
                Gate::FirstHalf => LoadedGate::FirstHalf,
                Gate::SecondHalf => LoadedGate::SecondHalf,
                Gate::Alternating { alpha, limit } => LoadedGate::Alternating {
                    alpha: *alpha,
                    limit: *limit,
                },
            },
            up: Linear::load(&node.up, loader)?,
            down: Linear::load(&node.down, loader)?,
            activation: node.activation,
        })
    }

    /// Whether `tap` wants to see every token at one of its inputs.
    pub fn is_wanted_whole(&self, tap: &dyn Tap) -> bool {
        let points = [&self.up, &self.down].map(Linear::input_point);
        points.iter().any(|point| tap.wants_every_token(point))
    }

    /// `down(f(up(x)))`, or gated `down(f(gate(x)) · up(x))`; before the residual is added.
    pub fn forward(&self, input: Tensor<3>, tap: &mut dyn Tap) -> Tensor<3> {
        self.up.observe(&input, tap);
        let inner = match &self.gate {
            LoadedGate::None => fused::activate(self.activation, self.up.forward(input, tap)),
            LoadedGate::Layer(gate) => {
                let gate = gate.forward(input.clone(), tap);
                fused::gate(self.activation, gate, self.up.forward(input, tap))
            }
            LoadedGate::FirstHalf => {
                let [first, second] = halves(self.up.forward(input, tap));
                fused::gate(self.activation, first, second)
            }
            LoadedGate::SecondHalf => {
                let [first, second] = halves(self.up.forward(input, tap));
                fused::gate(self.activation, second, first)
            }
            LoadedGate::Alternating { alpha, limit } => {
                alternating(self.up.forward(input, tap), *alpha, *limit)
            }
        };
        self.down.observe(&inner, tap);
        self.down.forward(inner, tap)
    }
}

fn halves(x: Tensor<3>) -> [Tensor<3>; 2] {
    let half = x.dims()[2] / 2;
    [x.clone().narrow(2, 0, half), x.narrow(2, half, half)]
}

/// `g · σ(alpha · g) · (u + 1)` of the even and the odd channels, clamped.
fn alternating(x: Tensor<3>, alpha: f64, limit: f64) -> Tensor<3> {
    let [batch, tokens, channels] = x.dims();
    let pairs = x.reshape([batch, tokens, channels / 2, 2]);
    let one = |which: usize| {
        let part = pairs.clone().narrow(3, which, 1);
        part.reshape([batch, tokens, channels / 2])
    };
    let gate: Tensor<3> = one(0).clamp_max(limit);
    let up: Tensor<3> = one(1).clamp(-limit, limit);
    gate.clone() * activation::sigmoid(gate * alpha) * (up + 1.0)
}
