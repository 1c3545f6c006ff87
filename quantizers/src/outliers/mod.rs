//! Which weights go to the sparse part: the most sensitive ones of each matrix, then the largest ones
//! under a limit that all layers share.
//!
//! A run that wants magnitude outliers goes over its weights twice: [`survey`] looks at each matrix
//! once, [`shared_factor`] turns the surveys into one interquartile-range factor, and
//! [`Quartiles::threshold`] turns that factor into each matrix's own limit while it is quantized.

mod order;
mod survey;
mod select;
mod sparse;

pub use select::{mark_magnitude, mark_sensitive};
pub use sparse::extract;
pub use survey::{MagnitudeSurvey, Quartiles, shared_factor, survey};
