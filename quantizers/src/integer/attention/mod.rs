//! Attention of one head in integers: scores, softmax weights, weighted values, own output grid.
//!
//! Queries are 8-bit codes with a zero point, keys and values symmetric 8-bit codes.
//!
//! * [`HeadAttention::whole`]: all keys of a query at once. Largest score, weights `p` of `b` bits by
//!   [`Decay`], `l = sum p`, `acc = sum p v`, output `floor(acc M / l + 1/2)`, `M = S_v / S_out`
//!   dyadic. This is what programs run.
//! * [`HeadAttention::weights`] and [`AttentionOutput::bytes`]: its two row steps on vectors, between two matrix
//!   products of the executor; the same integers. 15-bit weights come in two planes of bytes.
//!
//! A program also holds constants for executors that take keys in tiles, with a running maximum, and
//! rescale the sums when it grows: the factor of a rescaling and guard bits. Tests run such an executor
//! and bound how far its codes are from those of whole rows.
//!
//! Masked keys are left out: a shorter row. No large negative number is ever added. A query without
//! keys gives the zero point.
//!
//! # Widths
//!
//! For `n` keys of width `d`, weights of `b` bits, `G` guard bits, sign included:
//!
//! | intermediate | whole rows | tiles |
//! |---|---|---|
//! | score | `17 + log2 d`, at most 32 | same |
//! | position of a weight | 64, then 31 | same |
//! | table, slope, weight | 16 without sign, products 32 | same |
//! | `l` | `b + log2 n + 1` | `b + log2 n + G + 1` |
//! | `acc` | `b + 7 + log2 n + 1` | `b + 7 + log2 n + G + 1` |
//! | `acc M`, `l 2^(c-1)` | 63: `M` has fewer bits where it must | same |
//! | `acc a` | none | 128 bits where `acc` has more than 32, flagged |

#[cfg(target_arch = "x86_64")]
mod avx512;
mod decay;
mod output;
mod whole;
mod scores;
mod weights;
#[cfg(test)]
mod tests;

pub use decay::{Decay, NARROW, POSITION_BITS, WIDE, at};
pub use output::{AttentionOutput, Sums};
pub use scores::Scores;
pub use whole::Inputs;

use super::kernels::exact::Exponential;
use super::{Interval, WidthError};
use serde::{Deserialize, Serialize};

/// Constants of one head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadAttention {
    /// Weight of a difference of scores, with the factor on `Q K^T` in its scale.
    pub decay: Decay,
    /// The same difference as a factor of 30 bits, on the running sums of an executor that takes keys in tiles.
    pub exponential: Exponential,
    /// Code of zero of the queries.
    pub query_zero_point: i32,
    /// Width of the head, `d`.
    pub head_dim: usize,
    /// Most keys of a query.
    pub most_keys: usize,
    /// Bits of a weight, 8 or 15.
    pub weight_bits: u32,
    /// Fraction bits of those running sums.
    pub guard_bits: u32,
    /// Whether their rescaling needs 128-bit products.
    pub wide_rescaling: bool,
    /// The output grid.
    pub output: AttentionOutput,
}

impl HeadAttention {
    /// Largest weight, `2^b - 1`.
    pub fn most(&self) -> i64 {
        (1 << self.weight_bits) - 1
    }

    /// The intervals of `l` and `acc` in units of `2^-G`.
    pub fn sums(&self) -> (Interval, Interval) {
        let most = i128::from(self.most()) * self.most_keys as i128;
        // Every rescaling adds at most one half, and there are fewer than keys.
        let total = (most << self.guard_bits) + self.most_keys as i128;
        (Interval::new(0, total), Interval::symmetric(total * 128))
    }

    /// Checks the widths of every intermediate.
    ///
    /// # Errors
    /// The first that is wider than declared.
    pub fn bounds(&self) -> Result<Interval, WidthError> {
        let score = 255 * 128 * self.head_dim as i128;
        Interval::symmetric(score).within(32, "score")?;
        let exponential = self.exponential.bounds()?;
        self.decay.bounds()?;
        let (total, sums) = self.sums();
        if self.weight_bits == 8 {
            let row = Interval::symmetric(i128::from(self.most()) * 128 * self.most_keys as i128);
            row.within(32, "weighted values of a row")?;
        }
        let rescaled = sums.times(exponential.union(Interval::new(0, 1 << 30)));
        if !self.wide_rescaling {
            rescaled.within(63, "rescaled values")?;
        }
        total
            .times(Interval::new(0, 1 << 30))
            .within(63, "rescaled total")?;
        self.output.bounds(total, sums)
    }

    /// What is wrong with the constants.
    pub fn invalid(&self) -> Option<&'static str> {
        if self.weight_bits != 8 && self.weight_bits != 15 {
            Some("attention weights of neither 8 nor 15 bits")
        } else if self.guard_bits > 16 || self.most_keys == 0 || self.head_dim == 0 {
            Some("attention without keys or with too many guard bits")
        } else if self.most_keys > 1 << 24 || self.head_dim > 1 << 16 {
            Some("attention of too many keys or too wide a head")
        } else {
            let exponential = self.exponential.invalid().or(self.output.invalid());
            self.decay.invalid().or(exponential)
        }
    }
}
