//! What calibration saw at the points of a graph.

use std::collections::BTreeMap;

/// Statistics of one point; what was not collected is absent.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PointStatistics {
    /// Smallest and largest value by each range observer, by its name.
    pub ranges: BTreeMap<String, (f32, f32)>,
    /// Per channel.
    pub channels: Option<ChannelRanges>,
    /// Whole sequences, the same ones at every point.
    pub samples: Option<Samples>,
}

/// Figures per channel over all calibration data.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ChannelRanges {
    /// Smallest value.
    pub min: Vec<f32>,
    /// Largest value.
    pub max: Vec<f32>,
    /// Mean.
    pub mean: Vec<f32>,
    /// Mean square.
    pub mean_square: Vec<f32>,
}

/// Activations of whole sequences.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Samples {
    /// `[rows, width]`, row-major; the rows of a sequence follow each other.
    pub values: Vec<f32>,
    /// Channels.
    pub width: usize,
    /// Rows of each sequence.
    pub lengths: Vec<usize>,
}

impl Samples {
    /// Rows in all.
    pub fn rows(&self) -> usize {
        self.values.len() / self.width.max(1)
    }
}
