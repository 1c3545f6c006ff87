//! Tables whose entries are multiplied with a scale per row or per group: both fitted together.
//!
//! A weight is `scale of its group * entry`. Under weights `f` on the squared errors each part has a best value
//! for given others: the index is the entry nearest `w / scale`, a scale is `sum f w t / sum f t^2` over its
//! group, an entry is `sum f s w / sum f s^2` over the weights that use it. They are taken in turn, every one as
//! it will be stored, so that no step raises the error. The start decides which minimum that ends in: several
//! are tried, and now and then every group tries scales away from its own.

mod levels;
mod scales;
mod start;
mod sums;
mod block;
mod fit;
#[cfg(test)]
mod tests;

pub use fit::{Importance, ScaledFit, ScaledLayout, fit_scaled};
pub use start::TableChoice;

pub(crate) use levels::{Levels, Lookup};
pub(crate) use scales::StoredScales;
