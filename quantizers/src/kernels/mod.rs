//! Products of packed matrices: codes are looked up where they lie, and no matrix is ever held as f32.
//!
//! A row is summed by one thread in an order of its own, so that the number of threads changes no bit.

mod avx2;
mod chosen;
mod code_row;
mod codes;
mod compute;
mod halves;
mod inputs;
mod kernel;
mod packed;
mod scalar;
mod sparse;
#[cfg(test)]
mod tests;

pub use chosen::{KernelError, check_kernel, kernel_name};
pub use compute::{COMPUTES, Compute, ComputeEntry, ComputeError};
pub use packed::PackedMatrix;
