//! Codebooks: the globally optimal weighted k-means of each row, its f16 table, and the indices.
//!
//! In one dimension optimal clusters are runs of the sorted values, so that the best codebook is an
//! exact minimum, not the outcome of a random start. [`Solver`] finds it; [`fit_rows`] does so for a
//! matrix, rows in parallel.

mod sorted;
mod moments;
mod wide;
mod layered;
mod coarse_problem;
mod descent;
mod solver;
mod rounding;
mod rows;
pub mod scaled;
#[cfg(test)]
mod tests;

pub use rounding::assign;
pub(crate) use rounding::{nearest_f16, set_thresholds};
pub use rows::fit_rows;
pub use solver::{Solution, Solver};
pub use sorted::Row;
