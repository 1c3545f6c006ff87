//! Rotary position embedding, as far as a configuration decides it.

use serde::{Deserialize, Serialize};

/// How rotary frequencies are stretched for longer contexts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// All of them divided by `factor`.
    Linear {
        /// Divisor.
        factor: f32,
    },
    /// Llama 3.1: long wavelengths divided by `factor`, short ones kept, a ramp between.
    Llama3 {
        /// Divisor of the long wavelengths.
        factor: f32,
        /// Wavelengths above `original_positions / low_frequency` are divided.
        low_frequency: f32,
        /// Wavelengths below `original_positions / high_frequency` are kept.
        high_frequency: f32,
        /// Context length of the pretraining.
        original_positions: f32,
    },
    /// `YaRN` (Peng et al. 2023): channels that turn less than `slow` times over the original context are
    /// divided, those that turn more than `fast` times kept, a ramp over the channels between.
    Yarn {
        /// Divisor of the slow channels.
        factor: f32,
        /// Turns above which a channel is kept.
        fast: f32,
        /// Turns below which a channel is divided.
        slow: f32,
        /// Context length of the pretraining.
        original_positions: f32,
        /// Whether the ends of the ramp are whole channels.
        truncate: bool,
    },
    /// `LongRoPE` (Ding et al. 2024): a divisor for each channel, one set for sequences within the original
    /// context and one for longer ones.
    Long {
        /// Divisors of short sequences, one for each pair of channels.
        short: Vec<f32>,
        /// Divisors of long sequences.
        long: Vec<f32>,
        /// Longest short sequence.
        original_positions: usize,
    },
}

/// Rotary position embedding of the first `channels` channels of a head; pair `i` is rotated by an angle of
/// `position · theta^(-2i / channels)`, scaled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RopeNode {
    /// Base of the frequencies.
    pub theta: f32,
    /// How they are stretched.
    pub scaling: RopeScaling,
    /// Channels that are rotated, an even number; the rest of a head stays as it is.
    pub channels: usize,
    /// A pair is two neighbours; otherwise channel `i` and channel `i + channels / 2`.
    pub interleaved: bool,
    /// Factor on cosines and sines (attention factor of `YaRN` and `LongRoPE`), 1 otherwise.
    pub magnitude: f32,
}

impl RopeNode {
    /// Unscaled, of halves.
    pub fn plain(theta: f32, channels: usize) -> Self {
        Self {
            theta,
            scaling: RopeScaling::None,
            channels,
            interleaved: false,
            magnitude: 1.0,
        }
    }
}
