//! The same layer operations on tensors, fused where they live in host memory.
//!
//! Each function takes burn tensors and returns one. On the CPU backend it reads and writes slices
//! through [`kernels`](super::kernels) in one pass, and records a single step with a hand-written
//! gradient when the tensors are on a tape; on any other device it falls back to burn's operations.
//! Only the gradients of activations are fused: a tracked weight or bias falls back as well.

mod activation;
mod attention;
mod elementwise;
mod host;
mod inputs;
mod linear;
mod norm;
mod rotary;
mod squares;
mod strided;
mod sum;
mod tape;

pub(super) use activation::{activate, gate};
pub(super) use attention::{attend, attend_from, shares_from};
pub(super) use host::HostValues;
pub(super) use inputs::round_inputs;
pub(super) use linear::{linear, linear_of_each, linear_of_rows};
pub(super) use norm::norm;
pub(super) use rotary::rotate;
pub(crate) use squares::add_squared_products;
pub(super) use sum::sum;
pub(crate) use tape::{End, probe};

#[cfg(test)]
mod tests;
