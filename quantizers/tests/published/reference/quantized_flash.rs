//! `QFlash` (arXiv 2604.25306): attention in tiles with an integer online softmax.

use quantizers::integer::{Arithmetic, Wrapping};

/// Scores that no key has yet.
const BELOW_EVERY_SCORE: i64 = -(1 << 20);

/// One head over `[tokens, head_dim]` codes, one scale per tensor, `sm = log2(e) / sqrt(d) S_q S_k`:
///
/// ```text
/// exp2(x) for x <= 0: z = floor(x E / 2^16)    r = x + z R    e = floor((floor(r/2) + R) / 2^z); R is 1
/// per tile of keys: s = Q K^T    m' = max(m, max s)    a = exp2(m - m')
///   p = floor((exp2(s - m') Qm + 2^15) / 2^16), 0 to 127
///   l = floor((l a Lm + 2^29) / 2^30) + sum p      acc = floor((acc a Lm + 2^29) / 2^30) + p V
/// out = acc / l, truncated: codes of V's scale
/// ```
///
/// Widths: 26 bits for scores of 8-bit codes and `d <= 1024`, 32 for `l` and `acc`, 64 for their
/// products with `a Lm`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct QuantizedFlash {
    /// `R = round(1 / sm)`.
    pub(crate) one: i64,
    /// `E = round(-sm 2^16)`, negative.
    pub(crate) reciprocal: i64,
    /// `Qm = round(sm 127 2^16)`.
    pub(crate) to_probability: i64,
    /// `Lm = round(2^30 / R)`.
    pub(crate) to_factor: i64,
    /// Keys per tile.
    pub(crate) tile: usize,
    /// Values per token.
    pub(crate) head_dim: usize,
}

/// The state of one query after the last tile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attended {
    /// `acc`, `[head_dim]`.
    pub(crate) weighted: Vec<i64>,
    /// `l`.
    pub(crate) total: i64,
}

impl Attended {
    /// `acc / l`, truncated towards zero.
    pub(crate) fn codes(&self) -> Vec<i64> {
        self.weighted
            .iter()
            .map(|value| {
                let quotient = Wrapping.div_floor(value.abs(), self.total);
                value.signum() * quotient
            })
            .collect()
    }
}

impl QuantizedFlash {
    /// `R 2^(x sm)` for `x <= 0`.
    pub(crate) fn power<A: Arithmetic>(&self, arithmetic: &A, x: i64) -> i64 {
        let octave = arithmetic.shr(arithmetic.mul(x, self.reciprocal), 16);
        let rest = arithmetic.add(x, arithmetic.mul(octave, self.one));
        let mantissa = arithmetic.add(arithmetic.shr(rest, 1), self.one);
        // Past 63 octaves nothing is left of a mantissa.
        arithmetic.shr(mantissa, u32::try_from(octave.clamp(0, 63)).unwrap_or(63))
    }

    /// Attends one query `[head_dim]` to `keys` and `values`, both `[tokens, head_dim]`.
    pub(crate) fn attend<A: Arithmetic>(
        &self,
        arithmetic: &A,
        query: &[i32],
        keys: &[i32],
        values: &[i32],
    ) -> Attended {
        let mut largest = BELOW_EVERY_SCORE;
        let mut state = Attended {
            weighted: vec![0; self.head_dim],
            total: 1,
        };
        let span = self.tile * self.head_dim;
        for (keys, values) in keys.chunks(span).zip(values.chunks(span)) {
            let scores: Vec<i64> = keys
                .chunks(self.head_dim)
                .map(|key| product(arithmetic, query, key))
                .collect();
            let before = largest;
            largest = scores.iter().copied().fold(largest, i64::max);
            let factor = self.power(arithmetic, arithmetic.sub(before, largest));
            let factor = arithmetic.mul(factor, self.to_factor);
            state.total = rescaled(arithmetic, state.total, factor);
            for value in &mut state.weighted {
                *value = rescaled(arithmetic, *value, factor);
            }
            for (score, value) in scores.iter().zip(values.chunks(self.head_dim)) {
                let power = self.power(arithmetic, arithmetic.sub(*score, largest));
                let power = arithmetic.mul(power, self.to_probability);
                let p = arithmetic.shr(arithmetic.add(power, 1 << 15), 16);
                state.total = arithmetic.declared(arithmetic.add(state.total, p), 32);
                for (sum, code) in state.weighted.iter_mut().zip(value) {
                    let term = arithmetic.mul(p, i64::from(*code));
                    *sum = arithmetic.declared(arithmetic.add(*sum, term), 32);
                }
            }
        }
        state
    }
}

fn product<A: Arithmetic>(arithmetic: &A, query: &[i32], key: &[i32]) -> i64 {
    let score = query.iter().zip(key).fold(0, |sum, (q, k)| {
        let term = arithmetic.mul(i64::from(*q), i64::from(*k));
        arithmetic.add(sum, term)
    });
    arithmetic.declared(score, 26)
}

fn rescaled<A: Arithmetic>(arithmetic: &A, value: i64, factor: i64) -> i64 {
    let scaled = arithmetic.mul(value, factor);
    arithmetic.shr(arithmetic.add(scaled, 1 << 29), 30)
}
