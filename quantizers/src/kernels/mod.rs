//! Products of packed matrices: codes are looked up where they lie, and no matrix is ever held as f32.
//!
//! A row is summed by one thread in an order of its own, so that the number of threads changes no bit.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod by_bits;
#[cfg(target_arch = "x86_64")]
mod checks;
mod chosen;
mod code_row;
mod codes;
mod compute;
mod halves;
mod inputs;
mod kernel;
mod order;
mod packed;
mod product;
mod scalar;
mod sparse;
mod table;
#[cfg(test)]
mod tests;

pub use chosen::{KernelError, check_kernel, kernel_name};
pub use compute::{COMPUTES, Compute, ComputeEntry, ComputeError};
pub use packed::PackedMatrix;
