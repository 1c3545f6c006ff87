//! From a float model and calibrated ranges to an integer program. Floats end here.

pub mod dyadic;
pub mod graph;
pub mod statistics;

pub use graph::{Activation, Block, EncoderGraph, Head, Input, LinearNode, NormNode};
pub use statistics::{ChannelRanges, PointStatistics, Samples};
