//! What real users ran into, each kind with cases of its own.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod outputs;
mod workbench;
