//! The road a checkpoint travels, one file per stage.

pub mod evaluate;
pub mod quantize;
