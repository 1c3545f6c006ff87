//! The wiring of a model, described once: norms, linear layers, what reads what.
//!
//! Plain data that an architecture fills in. Stages are built from it, and everything that must know
//! how layers hang together reads it: the integer compiler, block transforms, the allocator's ties.
//! It holds no weights and says nothing about how a layer is quantized.

mod tensors;
mod linear;
mod norm;
mod activation;
mod rope;
mod distance;
mod patches;
mod attention;
mod experts;
mod feed_forward;
mod mlp;
mod block;
mod ends;
mod inventory;
mod wiring;
mod scaling;

pub use activation::Activation;
pub use attention::{
    AttentionNode, LatentNode, LatentQuery, Pattern, QkvLayout, QkvNode, QueryKeyNorm, SlopesNode,
};
pub use block::{BlockNode, NormPlacement};
pub use distance::{DisentangledNode, DistanceBias, DistanceNode, PositionLayer};
pub use ends::{
    HeadNode, HeadTransform, Pooling, PoolingNode, Positions, Projection, TokenInputNode,
};
pub use experts::{ExpertGroups, ExpertsNode, RouterScores, Routing};
pub use feed_forward::{FeedForwardNode, Gate};
pub use inventory::Inventory;
pub use linear::{LinearNode, LinearRows, output_point};
pub use mlp::MlpNode;
pub use norm::{NormKind, NormNode, NormParameters};
pub use patches::{PatchInputNode, PositionBiasNode, WindowsNode};
pub use rope::{RopeNode, RopeScaling};
pub use scaling::{Producer, Scaling, Unscalable};
pub use tensors::{Point, TensorSpec};
pub use wiring::{Graph, StageNode};

#[cfg(test)]
pub(crate) mod tests;
