//! Searching a finite space of configurations with few measurements (Quantune: Lee et al. 2022, arXiv
//! 2202.05048): gradient-boosted trees learn from what has been measured which configuration is best, and that
//! one is measured next.

mod boosting;
mod explorer;
mod space;
#[cfg(test)]
mod tests;

pub use boosting::{BoostedTrees, Boosting};
pub use explorer::{Earlier, Explorer, shuffled};
pub use space::Choices;
