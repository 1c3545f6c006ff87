//! Layers shared by the architectures: what a stage reads, and what it computes.
//!
//! Each layer has two halves. A `...Spec` names the tensors and shapes it needs and can be listed
//! without any weights ([`Inventory`]); `load` reads them through a [`Loader`] into the layer that
//! runs.

pub mod kernels;
pub(crate) mod fused;
pub mod parameters;
pub mod weight;
pub mod linear;
pub mod norm;
pub mod activation;
pub mod rope;
pub mod attention;
pub mod self_attention;
pub mod mlp;
pub mod block;
pub mod embedding;
pub mod head;

pub use activation::Activation;
pub use attention::Pattern;
pub use block::{BlockSpec, NormPlacement};
pub use embedding::{PatchEmbeddingSpec, TextEmbeddingSpec};
pub use head::{HeadSpec, Positions, Projection};
pub(crate) use linear::output_point;
pub use linear::{Linear, LinearSpec};
pub use mlp::MlpSpec;
pub use norm::{Norm, NormKind, NormSpec};
pub use parameters::{Inventory, Loader, TensorSpec};
pub use rope::{Rope, RopeScaling};
pub use self_attention::{QkvSpec, SelfAttentionSpec};
