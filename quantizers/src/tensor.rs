//! A quantized matrix in memory: codes, grids or codebooks, outliers, and its true size.
//!
//! An encoding of the dense part is one file that implements `encoding::Dense` (bits, check, decode,
//! fingerprint), a variant of [`Encoding`] and a [`SchemeKind`].

mod storage;
mod invalid;
mod digest;
mod scheme;
mod encoding;
mod uniform;
mod table_scales;
mod codebook;
mod trellis;
mod sparse;
mod matrix;
mod size;

pub use codebook::Codebook;
pub use digest::Digest;
pub use invalid::InvalidTensor;
pub use matrix::{Encoding, QuantizedTensor};
pub use scheme::{InputGrid, Scheme, SchemeKind, TableScheme};
pub use sparse::Csr;
pub use storage::{FloatType, Granularity};
pub use table_scales::{HALF_BITS, ScaleValues, TableScales};
pub use trellis::Trellis;
pub use uniform::Uniform;
