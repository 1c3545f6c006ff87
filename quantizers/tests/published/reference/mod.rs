//! Third-party formulas that no recipe may name: for comparison only, without grids of their own.
//!
//! They are taken from other groups' code or from notes about it, and are here so that tests can
//! reproduce them bit for bit and measure them beside the operations that are compiled.

pub(crate) mod bit_exponential;
pub(crate) mod poly_gelu;
pub(crate) mod quantized_flash;

pub(crate) use poly_gelu::PolyGelu;
pub(crate) use quantized_flash::QuantizedFlash;
