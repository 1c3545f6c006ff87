//! Rotary position embedding (Su et al. 2021), of halves or of neighbours.

use super::kernels::rotary as kernel;
use super::{Constant, fused};
use burn::tensor::{Device, Tensor, TensorData};
use quantizers::attentions::Rotary;
use quantizers::graph::{RopeNode, RopeScaling};
use std::f32::consts::TAU;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Angular frequency of each pair of channels.
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    /// Of sequences no longer than `short_positions`.
    frequencies: Vec<f32>,
    /// Of longer ones, where they have others.
    long: Option<(usize, Vec<f32>)>,
    magnitude: f32,
    interleaved: bool,
}

impl Rope {
    /// Frequencies `theta^(-2i / channels)` for i in `0..channels / 2`, scaled.
    ///
    /// All arithmetic is f32, as in transformers: angles at far positions depend on the rounding.
    pub fn new(node: &RopeNode) -> Self {
        let channels = node.channels;
        let base = |pair: usize| node.theta.powf((2 * pair) as f32 / channels as f32);
        let pairs = 0..channels / 2;
        let divided = |divisors: &[f32]| -> Vec<f32> {
            let divisors = pairs.clone().zip(divisors);
            divisors.map(|(pair, d)| 1.0 / (d * base(pair))).collect()
        };
        let (frequencies, long) = match &node.scaling {
            RopeScaling::Long {
                short,
                long,
                original_positions,
            } => (divided(short), Some((*original_positions, divided(long)))),
            scaling => {
                let scaled = |pair| scale(1.0 / base(pair), pair, node, scaling);
                (pairs.clone().map(scaled).collect(), None)
            }
        };
        Self {
            frequencies,
            long,
            magnitude: node.magnitude,
            interleaved: node.interleaved,
        }
    }

    /// Cosines and sines for positions `0..tokens` of a sequence of `length` tokens.
    pub fn tables(&self, tokens: usize, length: usize, device: &Device) -> RopeTables {
        let frequencies = self.frequencies_of(length);
        let channels = 2 * frequencies.len();
        let table = |function: fn(f32) -> f32| {
            let mut values = Vec::with_capacity(tokens * channels);
            for position in 0..tokens {
                for _half in 0..2 {
                    let angles = frequencies.iter().map(|f| position as f32 * f);
                    values.extend(angles.map(|angle| function(angle) * self.magnitude));
                }
            }
            let data = TensorData::new(values, [1, 1, tokens, channels]);
            Tensor::<4>::from_data(data, device).into()
        };
        RopeTables {
            cos: table(f32::cos),
            sin: table(f32::sin),
            interleaved: self.interleaved,
        }
    }

    /// The rotation of single rows, for a sequence of `length` tokens.
    pub fn of_rows(&self, length: usize) -> RowRotary {
        RowRotary {
            frequencies: self.frequencies_of(length).to_vec(),
            magnitude: self.magnitude,
            interleaved: self.interleaved,
        }
    }

    fn frequencies_of(&self, length: usize) -> &[f32] {
        match &self.long {
            Some((short, long)) if length > *short => long,
            _ => &self.frequencies,
        }
    }

    /// Whether tables for a sequence of `a` tokens are those for one of `b`.
    fn alike(&self, a: usize, b: usize) -> bool {
        self.long
            .as_ref()
            .is_none_or(|(short, _)| (a > *short) == (b > *short))
    }
}

fn scale(frequency: f32, pair: usize, node: &RopeNode, scaling: &RopeScaling) -> f32 {
    match *scaling {
        // A set of divisors has frequencies of its own.
        RopeScaling::None | RopeScaling::Long { .. } => frequency,
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
        RopeScaling::Yarn {
            factor,
            fast,
            slow,
            original_positions,
            truncate,
        } => {
            // The pair that turns `turns` times over the original context.
            let pair_of = |turns: f32| {
                let turns = f64::from(turns);
                let share = f64::from(original_positions) / (turns * 2.0 * std::f64::consts::PI);
                node.channels as f64 * share.ln() / (2.0 * f64::from(node.theta).ln())
            };
            let (mut low, mut high) = (pair_of(fast), pair_of(slow));
            if truncate {
                (low, high) = (low.floor(), high.ceil());
            }
            let (low, mut high) = (low.max(0.0), high.min(node.channels as f64 - 1.0));
            if low >= high {
                // A ramp of no width would divide by zero.
                high = low + 0.001;
            }
            #[expect(clippy::cast_possible_truncation, reason = "rotary arithmetic is f32")]
            let ramp = ((pair as f64 - low) / (high - low)).clamp(0.0, 1.0) as f32;
            frequency / factor * ramp + frequency * (1.0 - ramp)
        }
    }
}

/// Rotates queries or keys `[head_dim]` one at a time, for methods that move them to other positions.
#[derive(Debug, Clone)]
pub struct RowRotary {
    frequencies: Vec<f32>,
    magnitude: f32,
    interleaved: bool,
}

impl RowRotary {
    /// Turns each pair of channels by `position` times its frequency, forwards or back, times `factor`.
    fn turn(&self, position: usize, row: &mut [f32], direction: f32, factor: f32) {
        let half = self.frequencies.len();
        for (pair, frequency) in self.frequencies.iter().enumerate() {
            let (a, b) = if self.interleaved {
                (2 * pair, 2 * pair + 1)
            } else {
                (pair, pair + half)
            };
            let angle = position as f32 * frequency;
            let (sin, cos) = (direction * angle.sin() * factor, angle.cos() * factor);
            (row[a], row[b]) = (row[a] * cos - row[b] * sin, row[b] * cos + row[a] * sin);
        }
    }
}

impl Rotary for RowRotary {
    fn rotate(&self, position: usize, row: &mut [f32]) {
        self.turn(position, row, 1.0, self.magnitude);
    }

    fn unrotate(&self, position: usize, row: &mut [f32]) {
        self.turn(position, row, -1.0, 1.0 / self.magnitude);
    }
}

/// Cosines and sines, `[1, 1, tokens, channels]` each.
#[derive(Debug, Clone)]
pub struct RopeTables {
    cos: Constant<4>,
    sin: Constant<4>,
    interleaved: bool,
}

impl RopeTables {
    /// Rotates queries or keys `[batch, heads, tokens, head_dim]`; channels beyond those of the tables stay.
    pub fn rotate(&self, x: Tensor<4>) -> Tensor<4> {
        let (width, channels) = (x.dims()[3], self.cos.tensor().dims()[3]);
        if channels == width {
            return self.rotate_all(x);
        }
        let rotated = self.rotate_all(x.clone().narrow(3, 0, channels));
        Tensor::cat(vec![rotated, x.narrow(3, channels, width - channels)], 3)
    }

    /// The same of one token at `position`, a row of heads `head_dim` wide in host memory.
    pub fn rotate_row(&self, position: usize, row: &mut [f32], head_dim: usize) {
        let channels = self.cos.tensor().dims()[3];
        let angles = position * channels..(position + 1) * channels;
        let [cos, sin] = [&self.cos, &self.sin].map(|table| &table.values()[angles.clone()]);
        kernel::rotate_token(row, head_dim, cos, sin, self.interleaved);
    }

    fn rotate_all(&self, x: Tensor<4>) -> Tensor<4> {
        if !self.interleaved {
            return fused::rotate(x, self.cos.tensor(), self.sin.tensor());
        }
        // Neighbours become halves, and go back afterwards.
        let [batch, heads, tokens, channels] = x.dims();
        let halves = x
            .reshape([batch, heads, tokens, channels / 2, 2])
            .swap_dims(3, 4)
            .reshape([batch, heads, tokens, channels]);
        fused::rotate(halves, self.cos.tensor(), self.sin.tensor())
            .reshape([batch, heads, tokens, 2, channels / 2])
            .swap_dims(3, 4)
            .reshape([batch, heads, tokens, channels])
    }

    /// Those of `tokens` positions from `first` on.
    #[must_use]
    pub fn narrow(&self, first: usize, tokens: usize) -> Self {
        Self {
            cos: self.cos.tensor().clone().narrow(2, first, tokens).into(),
            sin: self.sin.tensor().clone().narrow(2, first, tokens).into(),
            interleaved: self.interleaved,
        }
    }
}

/// A [`Rope`] on a device that remembers its longest tables.
#[derive(Debug)]
pub struct CachedRope {
    rope: Rope,
    device: Device,
    /// Rows, the length of the sequence they were made for, the tables.
    longest: Mutex<Option<(usize, usize, Arc<RopeTables>)>>,
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

    /// The one for `rope` on `device`, which all blocks that turn alike share as long as one of them is there: the tables
    /// of a long text are as large as its keys in a block.
    pub fn shared(rope: Rope, device: &Device) -> Arc<Self> {
        static ALL: Mutex<Vec<Weak<CachedRope>>> = Mutex::new(Vec::new());
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|one| one.strong_count() > 0);
        let mut alive = all.iter().filter_map(Weak::upgrade);
        let known = alive.find(|one| one.rope == rope && one.device == *device);
        known.unwrap_or_else(|| {
            let new = Arc::new(Self::new(rope, device.clone()));
            all.push(Arc::downgrade(&new));
            new
        })
    }

    /// Tables for `tokens` positions of a sequence of `length`.
    pub fn tables(&self, tokens: usize, length: usize) -> RopeTables {
        let (rows, tables) = self.longest(tokens, length);
        if rows == tokens {
            RopeTables::clone(&tables)
        } else {
            tables.narrow(0, tokens)
        }
    }

    /// Tables for at least `tokens` positions of a sequence of `length`, and for how many.
    pub fn longest(&self, tokens: usize, length: usize) -> (usize, Arc<RopeTables>) {
        // A panic elsewhere leaves a whole table or none behind: poisoning means nothing here.
        let mut longest = self.longest.lock().unwrap_or_else(PoisonError::into_inner);
        match &*longest {
            Some((rows, of, tables)) if *rows >= tokens && self.rope.alike(*of, length) => {
                (*rows, Arc::clone(tables))
            }
            _ => {
                let tables = Arc::new(self.rope.tables(tokens, length, &self.device));
                *longest = Some((tokens, length, Arc::clone(&tables)));
                (tokens, tables)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(channels: usize) -> RopeNode {
        RopeNode::plain(10_000.0, channels)
    }

    // One pair, frequency 1: position 1 rotates (1, 0) to (cos 1, sin 1).
    #[test]
    fn rotation_of_one_pair_by_hand() {
        let device = Device::flex();
        let rope = Rope::new(&plain(2));
        let x = Tensor::<4>::from_data([[[[1.0_f32, 0.0], [1.0, 0.0]]]], &device);
        let out = rope
            .tables(2, 2, &device)
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
        let rope = Rope::new(&RopeNode {
            scaling,
            ..plain(4)
        });
        assert!((rope.frequencies[0] - 1.0).abs() < 1e-7);
        assert!((rope.frequencies[1] - 0.01 / 8.0).abs() < 1e-9);
    }

    #[test]
    fn what_turns_alike_shares_its_tables() {
        let device = Device::flex();
        let one = |channels| CachedRope::shared(Rope::new(&plain(channels)), &device);
        let (first, alike, other) = (one(12), one(12), one(14));
        assert!(Arc::ptr_eq(&first, &alike));
        assert!(!Arc::ptr_eq(&first, &other));
    }

    #[test]
    fn a_narrowed_table_equals_a_computed_one() {
        let device = Device::flex();
        let cached = CachedRope::new(Rope::new(&plain(4)), device.clone());
        cached.tables(9, 9);
        let short = cached
            .tables(3, 3)
            .cos
            .tensor()
            .clone()
            .into_data()
            .try_to_vec::<f32>()
            .unwrap();
        let direct = cached
            .rope
            .tables(3, 3, &device)
            .cos
            .tensor()
            .clone()
            .into_data()
            .try_to_vec::<f32>()
            .unwrap();
        assert_eq!(short, direct);
    }
}
