//! Rotary position embedding (Su et al. 2021), in the half-rotation layout of transformers.

use super::fused;
use burn::tensor::{Device, Tensor, TensorData};
use quantizers::graph::{RopeNode, RopeScaling};
use std::f32::consts::TAU;
use std::sync::{Mutex, PoisonError};

/// Angular frequency of each pair of channels.
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    frequencies: Vec<f32>,
}

impl Rope {
    /// Frequencies `theta^(-2i / head_dim)` for i in `0..head_dim / 2`, scaled.
    ///
    /// All arithmetic is f32, as in transformers: angles at far positions depend on the rounding.
    pub fn new(head_dim: usize, node: RopeNode) -> Self {
        let RopeNode { theta, scaling } = node;
        let frequencies = (0..head_dim / 2)
            .map(|pair| {
                let frequency = 1.0 / theta.powf((2 * pair) as f32 / head_dim as f32);
                scale(frequency, scaling)
            })
            .collect();
        Self { frequencies }
    }

    /// Cosines and sines for positions `0..tokens`.
    pub fn tables(&self, tokens: usize, device: &Device) -> RopeTables {
        let head_dim = 2 * self.frequencies.len();
        let table = |function: fn(f32) -> f32| {
            let mut values = Vec::with_capacity(tokens * head_dim);
            for position in 0..tokens {
                for _half in 0..2 {
                    values.extend(
                        self.frequencies
                            .iter()
                            .map(|f| function(position as f32 * f)),
                    );
                }
            }
            Tensor::from_data(TensorData::new(values, [1, 1, tokens, head_dim]), device)
        };
        RopeTables {
            cos: table(f32::cos),
            sin: table(f32::sin),
        }
    }
}

fn scale(frequency: f32, scaling: RopeScaling) -> f32 {
    match scaling {
        RopeScaling::None => frequency,
        RopeScaling::Linear { factor } => frequency / factor,
        RopeScaling::Llama3 {
            factor,
            low_frequency,
            high_frequency,
            original_positions,
        } => {
            let wavelength = TAU / frequency;
            if wavelength > original_positions / low_frequency {
                frequency / factor
            } else if wavelength < original_positions / high_frequency {
                frequency
            } else {
                let ramp = (original_positions / wavelength - low_frequency)
                    / (high_frequency - low_frequency);
                (1.0 - ramp) * frequency / factor + ramp * frequency
            }
        }
    }
}

/// Cosines and sines, `[1, 1, tokens, head_dim]` each.
#[derive(Debug, Clone)]
pub struct RopeTables {
    cos: Tensor<4>,
    sin: Tensor<4>,
}

impl RopeTables {
    /// Rotates queries or keys `[batch, heads, tokens, head_dim]`.
    pub fn rotate(&self, x: Tensor<4>) -> Tensor<4> {
        fused::rotate(x, &self.cos, &self.sin)
    }

    /// Those of `tokens` positions from `first` on.
    #[must_use]
    pub fn narrow(&self, first: usize, tokens: usize) -> Self {
        Self {
            cos: self.cos.clone().narrow(2, first, tokens),
            sin: self.sin.clone().narrow(2, first, tokens),
        }
    }
}

/// A [`Rope`] on a device that remembers its longest tables.
#[derive(Debug)]
pub struct CachedRope {
    rope: Rope,
    device: Device,
    longest: Mutex<Option<(usize, RopeTables)>>,
}

impl CachedRope {
    /// Computes nothing yet.
    pub fn new(rope: Rope, device: Device) -> Self {
        Self {
            rope,
            device,
            longest: Mutex::new(None),
        }
    }

    /// Tables for `tokens` positions.
    pub fn tables(&self, tokens: usize) -> RopeTables {
        // A panic elsewhere leaves a whole table or none behind: poisoning means nothing here.
        let mut longest = self.longest.lock().unwrap_or_else(PoisonError::into_inner);
        match &*longest {
            Some((length, tables)) if *length == tokens => tables.clone(),
            Some((length, tables)) if *length > tokens => tables.narrow(0, tokens),
            _ => {
                let tables = self.rope.tables(tokens, &self.device);
                *longest = Some((tokens, tables.clone()));
                tables
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain() -> RopeNode {
        RopeNode {
            theta: 10_000.0,
            scaling: RopeScaling::None,
        }
    }

    // One pair, frequency 1: position 1 rotates (1, 0) to (cos 1, sin 1).
    #[test]
    fn rotation_of_one_pair_by_hand() {
        let device = Device::flex();
        let rope = Rope::new(2, plain());
        let x = Tensor::<4>::from_data([[[[1.0_f32, 0.0], [1.0, 0.0]]]], &device);
        let out = rope
            .tables(2, &device)
            .rotate(x)
            .into_data()
            .try_to_vec::<f32>()
            .unwrap();
        for (found, expected) in out.iter().zip([1.0, 0.0, 1.0_f32.cos(), 1.0_f32.sin()]) {
            assert!((found - expected).abs() < 1e-7);
        }
    }

    // theta 10000, head_dim 4: frequencies 1 and 0.01, wavelengths 6.28 and 628. With 100
    // original positions, low 1 and high 4 the first is kept (6.28 < 25), the second divided.
    #[test]
    fn llama3_keeps_short_and_divides_long_wavelengths() {
        let scaling = RopeScaling::Llama3 {
            factor: 8.0,
            low_frequency: 1.0,
            high_frequency: 4.0,
            original_positions: 100.0,
        };
        let rope = Rope::new(
            4,
            RopeNode {
                theta: 10_000.0,
                scaling,
            },
        );
        assert!((rope.frequencies[0] - 1.0).abs() < 1e-7);
        assert!((rope.frequencies[1] - 0.01 / 8.0).abs() < 1e-9);
    }

    #[test]
    fn a_narrowed_table_equals_a_computed_one() {
        let device = Device::flex();
        let cached = CachedRope::new(Rope::new(4, plain()), device.clone());
        cached.tables(9);
        let short = cached
            .tables(3)
            .cos
            .into_data()
            .try_to_vec::<f32>()
            .unwrap();
        let direct = cached
            .rope
            .tables(3, &device)
            .cos
            .into_data()
            .try_to_vec::<f32>()
            .unwrap();
        assert_eq!(short, direct);
    }
}
