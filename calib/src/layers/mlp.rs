//! The feed-forward half of a block, plain or gated.

use super::kernels::activation as kernel;
use super::linear::Linear;
use super::{Loader, fused};
use crate::{SourceError, Tap};
use burn::tensor::{Tensor, activation};
use quantizers::graph::{Activation, FeedForwardNode, Gate};
use quantizers::scratch::Scratch;

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

    /// The same of the next tokens of texts, `[n, width]` in host memory: no tap sees them.
    pub fn rows(&self, input: &[f32]) -> Scratch<f32> {
        let inner = match &self.gate {
            LoadedGate::Layer(gate) => {
                let [gate, up] = Linear::rows_of_each([gate, &self.up], input);
                let mut out = Scratch::unwritten(up.len());
                kernel::gate(self.activation, &gate, &up, &mut out);
                out
            }
            LoadedGate::None => {
                let up = self.up.rows(input);
                let mut out = Scratch::unwritten(up.len());
                kernel::activate(self.activation, &up, &mut out);
                out
            }
            LoadedGate::FirstHalf | LoadedGate::SecondHalf => {
                let up = self.up.rows(input);
                let width = 2 * self.down.inputs();
                let is_first = matches!(self.gate, LoadedGate::FirstHalf);
                gated_halves(self.activation, &up, width, is_first)
            }
            LoadedGate::Alternating { alpha, limit } => {
                alternating_rows(&self.up.rows(input), *alpha, *limit)
            }
        };
        self.down.rows(&inner)
    }
}

/// `f(first half) · second half` of rows, or the other way around.
fn gated_halves(
    activation: Activation,
    x: &[f32],
    width: usize,
    gate_is_first: bool,
) -> Scratch<f32> {
    let half = width / 2;
    let mut out = Scratch::unwritten(x.len() / 2);
    let rows = x.chunks_exact(width.max(1));
    for (row, out) in rows.zip(out.chunks_exact_mut(half.max(1))) {
        let (first, second) = row.split_at(half);
        let (gate, up) = if gate_is_first {
            (first, second)
        } else {
            (second, first)
        };
        kernel::gate(activation, gate, up, out);
    }
    out
}

/// [`alternating`] of rows.
fn alternating_rows(x: &[f32], alpha: f64, limit: f64) -> Scratch<f32> {
    #[expect(clippy::cast_possible_truncation, reason = "activations are f32")]
    let (alpha, limit) = (alpha as f32, limit as f32);
    let pairs = x.as_chunks::<2>().0.iter();
    let gated = pairs.map(|[gate, up]| {
        // What is no number stays so.
        let gate = if *gate > limit { limit } else { *gate };
        let up = up.clamp(-limit, limit);
        gate / (1.0 + (-gate * alpha).exp()) * (up + 1.0)
    });
    Scratch::collected(gated)
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
