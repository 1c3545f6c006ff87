//! Judging an artifact: tasks, paired intervals, gates and the report.
//!
//! Every figure is computed from the files on disk, of the original and of the quantized model on the
//! same samples, and comes with the uncertainty of the paired difference.

pub mod kind;
pub mod error;
pub mod metrics;
pub mod intervals;
pub mod score;
pub mod compare;
pub mod divergence;
pub mod runner;
pub mod subject;
mod forward_runner;
pub mod retrieval;
pub mod attention;
pub mod integer_model;
pub mod pruned;
pub mod tasks;
pub mod gate;
pub mod report;
