//! Whole programs of tiny random encoders: both arithmetics, every family, files and intervals.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod arithmetic;
mod documents;
mod tiny;
