//! The family against real functions, recorded vectors and itself.

mod attention_accuracy;
mod attention_forms;
mod bounds;
mod golden;
mod properties;
mod samples;
