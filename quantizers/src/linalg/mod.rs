//! Matrix products and factors on slices.

pub mod factor;
pub mod product;
pub mod scalar;
