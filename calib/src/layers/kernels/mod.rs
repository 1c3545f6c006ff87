//! Numeric kernels on slices, each a forward pass and the product of its Jacobian with a gradient.
//!
//! They know nothing of tensors, tapes or devices; `layers::fused` brings tensors here. Element-wise
//! loops are compiled once per instruction set and picked at run time; none of them contracts
//! `a * b + c`, so the choice does not change a bit. Matrix products are the `gemm` crate's.

#![expect(
    clippy::inline_always,
    reason = "a function that is called is compiled without its caller's instruction set"
)]

pub mod activation;
pub mod attention;
pub mod attention_gradient;
pub mod cross_entropy;
pub mod exponential;
pub mod halves;
pub mod lanes;
pub mod norm;
pub mod one_query;
pub mod rotary;
pub mod rows;
pub mod squares;
pub mod transpose;
