//! Running a model over data: the walk through its stages, what is measured on the way, and where
//! that is kept when it is kept at all.

pub mod error;
pub mod expert_calibration;
pub mod measured;
pub mod observers;
pub mod forward;
pub mod overlay;
pub mod block_runner;
pub mod walk;
pub mod workers;
pub mod stats_store;
pub mod point_statistics;
pub mod collect;
pub mod tuning;
pub mod fisher;
