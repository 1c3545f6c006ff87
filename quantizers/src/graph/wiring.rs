//! A model as the list of its stages, and which layers read what.

use super::block::BlockNode;
use super::ends::{HeadNode, TokenInputNode};
use super::experts::ExpertsNode;
use super::feed_forward::FeedForwardNode;
use super::inventory::Inventory;
use super::linear::LinearNode;
use super::mlp::MlpNode;
use super::patches::PatchInputNode;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A model as the list of its stages, in execution order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Graph {
    /// Name of the family.
    pub architecture: String,
    /// First the input, then the blocks, then the head, where there is one.
    pub stages: Vec<StageNode>,
    /// Longest sequence of a text model, where its configuration says so.
    pub max_positions: Option<usize>,
}

/// One stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StageNode {
    /// Token ids to hidden states.
    Tokens(TokenInputNode),
    /// Pixels to hidden states.
    Patches(PatchInputNode),
    /// A transformer block.
    Block(Box<BlockNode>),
    /// Hidden states to the result.
    Head(HeadNode),
    /// A stage whose wiring this graph cannot express: what it reads is known, nothing more.
    Opaque {
        /// Short name for progress.
        name: String,
        /// What it reads.
        inventory: Inventory,
    },
}

impl StageNode {
    /// Short name for progress: `embedding`, `block 3`, `head`.
    pub fn name(&self) -> String {
        match self {
            Self::Tokens(_) | Self::Patches(_) => "embedding".to_owned(),
            Self::Block(block) => format!("block {}", block.index),
            Self::Head(_) => "head".to_owned(),
            Self::Opaque { name, .. } => name.clone(),
        }
    }

    /// Tensors, linear layers and points of the stage, in execution order.
    pub fn inventory(&self) -> Inventory {
        let mut inventory = Inventory::default();
        match self {
            Self::Tokens(input) => inventory.tokens(input),
            Self::Patches(input) => inventory.patches(input),
            Self::Block(block) => inventory.block(block),
            Self::Head(head) => inventory.head(head),
            Self::Opaque { inventory, .. } => return inventory.clone(),
        }
        inventory
    }
}

impl Graph {
    /// The blocks, in order.
    pub fn blocks(&self) -> impl Iterator<Item = &BlockNode> {
        self.stages.iter().filter_map(|stage| match stage {
            StageNode::Block(block) => Some(block.as_ref()),
            _ => None,
        })
    }

    /// Whether positions see only those before them.
    pub fn is_causal(&self) -> bool {
        self.blocks()
            .any(|block| block.attention.pattern.is_causal())
    }

    /// The block at stage `stage`; `None` where that stage is another kind.
    pub fn block_at(&self, stage: usize) -> Option<&BlockNode> {
        match self.stages.get(stage) {
            Some(StageNode::Block(block)) => Some(block),
            _ => None,
        }
    }

    /// Most rows of hidden states of one input: tokens of the longest sequence, or patches and what
    /// comes in front of them.
    pub fn max_rows(&self) -> Option<usize> {
        match self.stages.first()? {
            StageNode::Tokens(input) => input.longest().or(self.max_positions),
            StageNode::Patches(input) => Some(input.rows()),
            _ => None,
        }
    }

    /// The layers that read what is seen at `point`, in execution order.
    pub fn consumers(&self, point: &str) -> Vec<LinearNode> {
        let layers = self.stages.iter().flat_map(|s| s.inventory().linears);
        layers.filter(|layer| layer.input_point == point).collect()
    }

    /// Names of the layers that see only the tokens a router sends them: those of experts, but for shared ones.
    pub fn routed_layers(&self) -> BTreeSet<&str> {
        let experts = self.blocks().filter_map(|block| block.mlp.experts());
        let networks = experts.flat_map(|node| &node.experts);
        let layers = networks.flat_map(FeedForwardNode::linears);
        layers.map(|layer| layer.name.as_str()).collect()
    }

    /// Names of the layers that decide for experts: routers, and gates of shared experts.
    pub fn routers(&self) -> BTreeSet<&str> {
        let experts = self.blocks().filter_map(|block| block.mlp.experts());
        let layers = experts.flat_map(ExpertsNode::routers);
        layers.map(|layer| layer.name.as_str()).collect()
    }

    /// Names of layers of one block that read the same input (q, k and v; gate and up), where there is
    /// more than one: what an allocator gives the same bits if its user wants them fused.
    pub fn ties(&self) -> Vec<Vec<&str>> {
        let groups = self
            .blocks()
            .filter(|block| !block.repeated)
            .flat_map(|block| {
                let networks = match &block.mlp {
                    MlpNode::Dense(node) => vec![node],
                    MlpNode::Experts(node) => node.experts.iter().chain(&node.shared).collect(),
                };
                let mlp = networks.into_iter().map(FeedForwardNode::projections);
                [block.attention.projections()].into_iter().chain(mlp)
            });
        groups
            .filter(|group| group.len() > 1)
            .map(|group| group.iter().map(|layer| layer.name.as_str()).collect())
            .collect()
    }
}
