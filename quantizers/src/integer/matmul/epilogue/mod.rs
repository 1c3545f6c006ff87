//! Ready epilogues: what turns a tile of sums into the codes of the next operation.
//!
//! Each has one scalar definition, which is the specification, and an AVX-512 twin with the same
//! bits. The twin costs about 11 vector operations per 16 outputs when every shift is at least
//! 32 (see [`Requantize`]), against `K / 4` multiply instructions of the kernel.

mod channels;
mod code;
mod requantize;
mod residual;
mod store;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(test)]
mod tests;

pub use channels::{RequantizeError, Scales};
pub use code::Code;
pub use requantize::Requantize;
pub use residual::{AddResidual, Branch, Residual};
pub use store::{ByteTable, Store, StoreLookup, StoreMapped, StoreTables};
