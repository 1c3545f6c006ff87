//! Layers shared by the architectures, with their weights: what a stage computes.
//!
//! A node of [`quantizers::graph`] names the tensors and shapes of a layer; `load` reads them through a
//! [`Loader`] into the layer that runs.

pub mod kernels;
pub(crate) mod fused;
pub mod constant;
pub mod parameters;
pub mod weight;
pub mod linear;
pub mod norm;
pub mod activation;
pub mod rope;
pub mod alibi;
pub mod distance;
pub mod disentangled;
pub mod query_key_norm;
pub mod latent;
pub mod windows;
pub mod heads;
pub mod attention;
pub mod self_attention;
pub mod mlp;
pub mod experts;
mod flow;
pub mod block;
pub mod embedding;
pub mod patches;
pub mod merging;
pub mod attention_pooling;
pub mod head;

pub use constant::Constant;
pub use linear::Linear;
pub use norm::Norm;
pub use parameters::Loader;
pub use rope::Rope;
