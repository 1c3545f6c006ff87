//! A mixture of experts: a router gives every token to a few feed-forward networks.

use super::feed_forward::FeedForwardNode;
use super::linear::LinearNode;
use super::tensors::TensorSpec;
use serde::{Deserialize, Serialize};

/// How the router's logits become the experts of a token and their shares.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Routing {
    /// From logits to scores.
    pub scores: RouterScores,
    /// Experts of a token.
    pub top_k: usize,
    /// The scores of the chosen experts are divided by their sum.
    pub normalised: bool,
    /// Factor on the shares.
    pub scale: f64,
    /// Added to the scores for the choice alone, `[experts]`.
    pub correction: Option<TensorSpec>,
    /// Experts are chosen from the best groups only.
    pub groups: Option<ExpertGroups>,
}

/// From router logits to scores.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RouterScores {
    /// Softmax over all experts.
    Softmax,
    /// Softmax over the chosen ones.
    SoftmaxOfChosen,
    /// Logistic function of each.
    Sigmoid,
    /// Of `phimoe`: one expert after the other, each with the softmax over those within twice `jitter`, relative, of
    /// the largest logit left.
    SparseMixer {
        /// Relative distance.
        jitter: f64,
    },
}

/// Groups of consecutive experts, of which only the best take part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpertGroups {
    /// Number of groups.
    pub count: usize,
    /// Groups that take part.
    pub chosen: usize,
    /// A group counts as much as the sum of this many of its best experts.
    pub best: usize,
}

/// A mixture of experts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExpertsNode {
    /// `[experts, width]`, computed in f32.
    pub router: LinearNode,
    /// How its output is read.
    pub routing: Routing,
    /// The networks.
    pub experts: Vec<FeedForwardNode>,
    /// A network all tokens pass besides.
    pub shared: Option<FeedForwardNode>,
    /// `[1, width]`: the output of `shared` is multiplied with the logistic function of this.
    pub shared_gate: Option<LinearNode>,
}

impl ExpertsNode {
    /// The layers that decide: the router, and the gate of the shared network. They weigh next to nothing and err
    /// for whole networks, so they stay as they are unless they are named.
    pub fn routers(&self) -> impl Iterator<Item = &LinearNode> {
        [&self.router].into_iter().chain(&self.shared_gate)
    }

    /// Linear layers of the experts and of the shared network.
    pub fn linears(&self) -> Vec<&LinearNode> {
        let experts = self.experts.iter().chain(&self.shared);
        experts.flat_map(FeedForwardNode::linears).collect()
    }
}
