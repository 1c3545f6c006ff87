//! The range that holds all but a small share of the inputs.

use super::{Accumulator, Batch, Observer, values};
use quantizers::statistics::{PERCENTILE, Statistic};

/// Share of inputs left outside at each end.
const OUTSIDE: f64 = 1e-4;
/// Bins per power of two of |x|: a relative resolution of 1/64.
const MANTISSA_BITS: u32 = 6;
const SHIFT: u32 = 23 - MANTISSA_BITS;
/// Bins for one sign: every exponent and the leading mantissa bits.
const BINS: usize = 1 << (8 + MANTISSA_BITS);

/// 0.01th and 99.99th percentile from a logarithmic histogram: memory does not grow with the data,
/// and bins need no range known beforehand.
pub(super) struct Percentile;

impl Observer for Percentile {
    fn statistic(&self) -> &'static Statistic {
        &PERCENTILE
    }

    fn start(&self, _width: usize) -> Box<dyn Accumulator> {
        Box::new(Histogram {
            negative: vec![0; BINS],
            positive: vec![0; BINS],
            total: 0,
        })
    }
}

struct Histogram {
    negative: Vec<u64>,
    positive: Vec<u64>,
    total: u64,
}

/// The largest magnitude that falls into `bin`.
fn upper_edge(bin: usize) -> f32 {
    let next = u32::try_from(bin + 1).unwrap_or(u32::MAX) << SHIFT;
    f32::from_bits(next - 1).min(f32::MAX)
}

impl Accumulator for Histogram {
    fn add(&mut self, batch: &Batch) {
        for value in values(batch.values.clone()) {
            let bin = ((value.abs().to_bits() >> SHIFT) as usize).min(BINS - 1);
            if value.is_sign_negative() {
                self.negative[bin] += 1;
            } else {
                self.positive[bin] += 1;
            }
            self.total += 1;
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a count is a non-negative count"
    )]
    fn finish(self: Box<Self>) -> (Vec<usize>, Vec<f32>) {
        let outside = (self.total as f64 * OUTSIDE) as u64;
        // Walks from the far end inwards until more than `outside` values have been passed.
        let edge = |far: &[u64], near: &[u64], sign: f32| {
            let mut passed = 0;
            for bin in (0..BINS).rev() {
                passed += far[bin];
                if passed > outside {
                    return sign * upper_edge(bin);
                }
            }
            for (bin, count) in near.iter().enumerate() {
                passed += count;
                if passed > outside {
                    return -sign * upper_edge(bin);
                }
            }
            0.0
        };
        let low = edge(&self.negative, &self.positive, -1.0);
        let high = edge(&self.positive, &self.negative, 1.0);
        (vec![2], vec![low, high])
    }
}
