//! From a float model and calibrated ranges to an integer program. Floats end here.

mod attention;
mod attention_samples;
mod builder;
mod choice;
pub mod dyadic;
mod embedding;
mod encoder;
mod equalize;
mod error;
mod feed_forward;
pub mod graph;
mod grids;
mod head;
mod linear;
mod measure;
mod norm;
mod obstacles;
pub mod source;
pub mod statistics;
mod weights;

pub use encoder::compile;
pub use error::CompileError;
pub use graph::{ActivationSlot, Block, Encoder, GraphError, Head, Input};
pub use source::{
    Candidate, Choice, Compilation, Options, Pooling, RangeRule, Slot, Source, SourceError,
};
pub use statistics::{ChannelRanges, PointStatistics, Samples};
