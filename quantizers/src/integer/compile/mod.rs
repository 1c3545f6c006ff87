//! From a float model and calibrated ranges to an integer program. Floats end here.

pub mod dyadic;
pub mod graph;
pub mod source;
pub mod statistics;

pub use graph::{Activation, Block, EncoderGraph, Head, Input, LinearNode, NormNode};
pub use source::{
    Candidate, Choice, Compilation, Options, Pooling, RangeRule, Slot, Source, SourceError,
};
pub use statistics::{ChannelRanges, PointStatistics, Samples};
