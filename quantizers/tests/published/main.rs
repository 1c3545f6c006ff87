//! The published integer operators against vectors and error tables of independent implementations.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod exp_accuracy;
mod gelu_accuracy;
mod golden;
mod golden_reference;
mod golden_rows;
mod layernorm_accuracy;
mod numpy;
mod softmax_accuracy;
mod sqnr;
mod properties;
mod reference;
mod refusals;
mod requests;
