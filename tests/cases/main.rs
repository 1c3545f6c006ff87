//! What real users ran into, each kind with cases of its own.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod agreeing_checks;
mod class_numbers;
mod datasets;
mod early_checks;
mod incomplete_data;
mod plans;
mod workbench;
