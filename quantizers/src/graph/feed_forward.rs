//! A feed-forward network, plain or gated.

use super::activation::Activation;
use super::linear::LinearNode;
use serde::{Deserialize, Serialize};

/// Where the gate of a feed-forward network comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gate {
    /// There is none: `down(f(up(x)))`.
    None,
    /// A layer `[inner, width]`: `down(f(gate(x)) · up(x))`.
    Layer(LinearNode),
    /// The first half of the rows of `up`, which is `[2 inner, width]`.
    FirstHalf,
    /// The second half of them.
    SecondHalf,
    /// Every other row of `up` from the first on, `up` being the others, both clamped (gpt-oss):
    /// `down(g · σ(alpha · g) · (u + 1))` with `g` at most `limit` and `u` within it.
    Alternating {
        /// Steepness of the logistic function.
        alpha: f64,
        /// Largest value.
        limit: f64,
    },
}

/// A feed-forward network, plain or gated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeedForwardNode {
    /// What passes through the activation and is multiplied with `up`.
    pub gate: Gate,
    /// `[inner, width]`; passed through the activation unless there is a gate.
    pub up: LinearNode,
    /// `[width, inner]`.
    pub down: LinearNode,
    /// The nonlinearity.
    pub activation: Activation,
}

impl FeedForwardNode {
    /// `down(f(up(x)))`.
    pub fn plain(up: LinearNode, down: LinearNode, activation: Activation) -> Self {
        Self {
            gate: Gate::None,
            up,
            down,
            activation,
        }
    }

    /// `down(f(gate(x)) · up(x))`.
    pub fn gated(
        gate: LinearNode,
        up: LinearNode,
        down: LinearNode,
        activation: Activation,
    ) -> Self {
        Self {
            gate: Gate::Layer(gate),
            ..Self::plain(up, down, activation)
        }
    }

    /// The layers that read the input: gate, where it is a layer, and up.
    pub fn projections(&self) -> Vec<&LinearNode> {
        match &self.gate {
            Gate::Layer(gate) => vec![gate, &self.up],
            _ => vec![&self.up],
        }
    }

    /// Its linear layers, in execution order.
    pub fn linears(&self) -> Vec<&LinearNode> {
        let mut layers = self.projections();
        layers.push(&self.down);
        layers
    }
}
