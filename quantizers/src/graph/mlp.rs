//! The feed-forward half of a block: one network, or a choice of experts.

use super::experts::ExpertsNode;
use super::feed_forward::FeedForwardNode;
use super::linear::LinearNode;
use serde::{Deserialize, Serialize};

/// The feed-forward half of a block.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "one per block")]
pub enum MlpNode {
    /// One network for all tokens.
    Dense(FeedForwardNode),
    /// Every token through the networks a router chooses.
    Experts(Box<ExpertsNode>),
}

impl MlpNode {
    /// The network all tokens pass; `None` where there are experts.
    pub fn dense(&self) -> Option<&FeedForwardNode> {
        match self {
            Self::Dense(node) => Some(node),
            Self::Experts(_) => None,
        }
    }

    /// The experts; `None` where one network serves all tokens.
    pub fn experts(&self) -> Option<&ExpertsNode> {
        match self {
            Self::Dense(_) => None,
            Self::Experts(node) => Some(node),
        }
    }

    /// Its linear layers, in execution order.
    pub fn linears(&self) -> Vec<&LinearNode> {
        match self {
            Self::Dense(node) => node.linears(),
            Self::Experts(node) => node.linears(),
        }
    }
}
