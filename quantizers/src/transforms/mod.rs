//! Transforms: a block, or a whole checkpoint, is rewritten into an equivalent one that quantizes better.
//!
//! Adding one is a new file here plus two lines: the `mod` line and the entry in [`TRANSFORMS`].

mod edit;
mod error;
mod runner;
mod layer_weight;
mod scaling;
mod refusals;
mod rewrite;
mod transform;
mod awq;
pub mod equalize;
mod smoothquant;
mod rotate;

pub use edit::{BlockEdit, EditedTensor};
pub use error::TransformError;
pub use rewrite::{CheckpointRewrite, Rewriting, RewrittenTensor};
pub use runner::BlockRunner;
pub use transform::{ConfiguredTransform, Transform};

/// Every transform, in the order `quench list transforms` prints them.
pub static TRANSFORMS: &[&dyn Transform] = &[
    &awq::Awq,
    &smoothquant::SmoothQuant,
    &equalize::Equalize,
    &rotate::Rotate,
];

/// The transform called `name`.
pub fn find(name: &str) -> Option<&'static dyn Transform> {
    TRANSFORMS
        .iter()
        .copied()
        .find(|transform| transform.name() == name)
}

#[cfg(test)]
mod tests;
