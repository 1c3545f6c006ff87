//! One toy entry of every kind, in one file each: what `ARCHITECTURE.md` says a new entry needs.
//!
//! A toy takes the way of a real entry: through the functions that are given a registry, and the traits'
//! public interface. What would need another file to know of it does not compile here.

mod architecture;
mod cache;
mod attention;
mod format;
mod method;
mod retrieval;
mod source;
mod statistic;
mod task;
mod transform;
