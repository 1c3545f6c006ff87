//! Integer replacements of nonlinear functions: how each is compiled.
//!
//! An [`Approximation`] turns scales into integer constants, here, with floats; what it returns runs
//! in [`crate::integer`], without. Adding one is a file in the folder of its family, the kernel it
//! compiles to, and its line in [`APPROXIMATIONS`].

mod approximation;
pub mod exact;
pub mod fq_vit;
pub mod i_bert;
pub mod i_vit;
mod precondition;
mod rounding;

pub use approximation::{
    About, Approximation, ApproximationError, AttentionRequest, Compiled, Grid, InputForm,
    Nonlinearity, Request,
};
pub use exact::functions::{gelu, gelu_tanh, relu, silu};

/// Every approximation, in the order `quench list approximations` prints them.
pub static APPROXIMATIONS: &[&dyn Approximation] = &[
    &exact::pointwise::GELU,
    &exact::pointwise::GELU_TANH,
    &exact::pointwise::RELU,
    &exact::pointwise::SILU,
    &exact::pointwise::TANH,
    &exact::softmax::Softmax,
    &exact::norm::LAYERNORM,
    &exact::norm::RMSNORM,
    &i_bert::gelu::SAFE,
    &i_bert::softmax::Softmax,
    &i_bert::layernorm::LayerNorm,
    &i_vit::gelu::Gelu,
    &i_vit::softmax::Softmax,
    &i_vit::layernorm::LayerNorm,
    &fq_vit::softmax::Softmax,
    &fq_vit::layernorm::LayerNorm,
];

/// The approximation of `function` called `name`.
pub fn find(function: Nonlinearity, name: &str) -> Option<&'static dyn Approximation> {
    APPROXIMATIONS
        .iter()
        .copied()
        .find(|entry| entry.replaces() == function && entry.name() == name)
}
