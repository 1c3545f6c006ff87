//! Matrix products, factors and orthogonal transforms on slices.

pub mod factor;
pub mod hadamard;
mod paley;
pub mod product;
pub mod scalar;
