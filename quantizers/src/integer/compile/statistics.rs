//! What calibration saw at the points of a graph: plain numbers, whoever measured them.

use std::collections::BTreeMap;

/// What was measured at one point; absent parts were not asked for.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PointStatistics {
    /// `(low, high)` over everything seen, by observer: `min_max`, `moving_average`, `percentile`.
    pub ranges: BTreeMap<String, (f32, f32)>,
    /// Per channel.
    pub channels: Option<ChannelRanges>,
    /// The values themselves, of the first calibration sequences.
    pub samples: Option<Samples>,
}

/// Figures per channel over all calibration tokens, `[width]` each.
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

impl ChannelRanges {
    /// Number of channels.
    pub fn width(&self) -> usize {
        self.min.len()
    }

    /// Smallest and largest value over all channels; `(inf, -inf)` where there is none.
    pub fn range(&self) -> (f32, f32) {
        let low = self.min.iter().copied().fold(f32::INFINITY, f32::min);
        let high = self.max.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        (low, high)
    }
}

/// Whole calibration sequences kept verbatim, the same ones at every point of a model: what a
/// softmax, a GELU or a normalisation is given can be computed again from the points around it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Samples {
    /// `[rows, width]`, sequence after sequence.
    pub values: Vec<f32>,
    /// Channels.
    pub width: usize,
    /// Rows of each sequence: its tokens, or 1 where only the first position goes on.
    pub lengths: Vec<usize>,
}

impl Samples {
    /// Rows of all sequences together.
    pub fn rows(&self) -> usize {
        self.lengths.iter().sum()
    }

    /// The sequences one by one, each `[length, width]`.
    ///
    /// # Panics
    /// Lengths that promise more rows than there are values.
    pub fn sequences(&self) -> impl Iterator<Item = &[f32]> {
        let mut rest = self.values.as_slice();
        self.lengths.iter().map(move |length| {
            let (sequence, after) = rest.split_at(length * self.width);
            rest = after;
            sequence
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_are_cut_at_their_lengths() {
        let samples = Samples {
            values: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
            width: 2,
            lengths: vec![1, 2],
        };
        let found: Vec<&[f32]> = samples.sequences().collect();
        assert_eq!(found, [&[1.0, 2.0][..], &[3.0, 4.0, 5.0, 6.0]]);
        assert_eq!(samples.rows(), 3);
    }

    #[test]
    fn the_range_spans_the_channels() {
        let channels = ChannelRanges {
            min: vec![-1.0, 0.0],
            max: vec![2.0, 3.0],
            mean: vec![0.5, 1.0],
            mean_square: vec![1.0, 4.0],
        };
        assert_eq!((channels.width(), channels.range()), (2, (-1.0, 3.0)));
    }
}
