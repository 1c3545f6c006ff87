//! The family `exact`: what each operator of `integer/kernels/exact/` is compiled to.
//!
//! Functions of one 8 to 12-bit code become tables of correctly rounded outputs; wider inputs get
//! minimax polynomials; normalisations have exact statistics. Nothing is learned and nothing has a
//! precondition on scales beyond the widths, which every compilation checks by interval analysis.

mod checks;
pub mod functions;
pub mod minimax;
mod channel_tables;
mod elementwise;
pub mod exponential;
pub mod pointwise;
pub mod softmax;
pub mod norm;
pub mod attention;

pub use norm::affine;

#[cfg(test)]
mod tests;
