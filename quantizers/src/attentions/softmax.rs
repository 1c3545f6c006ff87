//! Softmax attention of one query over listed keys, in parts that can be merged.
//!
//! Sums are taken in the order of the list whatever the instructions of the machine, so that two methods that look at
//! the same keys in the same order give the same bits.

use crate::MatrixRef;
use multiversion::multiversion;

/// Partial sums of a dot product: two registers of eight.
const LANES: usize = 16;

/// Keys one query looks at.
#[derive(Clone, Copy)]
pub(super) struct Listed<'a> {
    /// Rows of the key and value matrices.
    pub(super) positions: &'a [u32],
    /// Added to the logits, one for each position; nothing is added where it is empty.
    pub(super) log_weights: &'a [f32],
    /// Multiply the values, not the denominator, one for each position; nothing is multiplied where it is empty.
    pub(super) factors: &'a [f32],
}

impl<'a> Listed<'a> {
    /// Keys with their own weights.
    pub(super) fn plain(positions: &'a [u32]) -> Self {
        Self {
            positions,
            log_weights: &[],
            factors: &[],
        }
    }
}

/// Softmax attention over some keys, before division: weights are relative to `exp(largest)`.
#[derive(Debug, Clone)]
pub(super) struct Partial {
    /// The largest logit.
    pub(super) largest: f32,
    /// Sum of the weights.
    pub(super) sum: f64,
    /// Weighted sum of the values.
    pub(super) values: Vec<f32>,
}

impl Partial {
    /// Over no keys.
    pub(super) fn empty(value_dim: usize) -> Self {
        Self {
            largest: f32::NEG_INFINITY,
            sum: 0.0,
            values: vec![0.0; value_dim],
        }
    }

    /// Over the keys of both. This is the merge by log-sum-exp (`c = 1 / (1 + exp(lse2 - lse1))`), before division.
    pub(super) fn merge(&mut self, other: &Self) {
        if other.sum <= 0.0 {
            return;
        }
        let largest = self.largest.max(other.largest);
        let (own, others) = (
            (self.largest - largest).exp(),
            (other.largest - largest).exp(),
        );
        self.sum = self.sum * f64::from(own) + other.sum * f64::from(others);
        for (value, added) in self.values.iter_mut().zip(&other.values) {
            *value = *value * own + added * others;
        }
        self.largest = largest;
    }

    /// The output, `[value_dim]`; zeros over no keys.
    pub(super) fn write(&self, out: &mut [f32]) {
        self.write_over(self, out);
    }

    /// The values of `self` over the sum of `denominator`: for estimates that take both from other keys.
    pub(super) fn write_over(&self, denominator: &Self, out: &mut [f32]) {
        let share = self.share(1.0, denominator);
        for (out, value) in out.iter_mut().zip(&self.values) {
            *out = value * share;
        }
    }

    /// What a weight relative to `exp(self.largest)` is of the sum of `denominator`.
    pub(super) fn share(&self, weight: f32, denominator: &Self) -> f32 {
        if denominator.sum <= 0.0 {
            return 0.0;
        }
        let relative = f64::from(self.largest - denominator.largest).exp();
        #[expect(clippy::cast_possible_truncation, reason = "outputs are f32")]
        let share = (f64::from(weight) * relative / denominator.sum) as f32;
        share
    }
}

/// Attention of one query, with the weight of each key; kept from query to query for its memory.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// Weights of the listed keys relative to `exp(partial.largest)`, as they entered the denominator.
    pub(super) weights: Vec<f32>,
    /// The sums.
    pub(super) partial: Partial,
}

impl Row {
    /// For values of `value_dim` channels.
    pub(super) fn new(value_dim: usize) -> Self {
        Self {
            weights: Vec::new(),
            partial: Partial::empty(value_dim),
        }
    }

    /// Attends with `query`, `[head_dim]`, to `listed` of `keys`, `[tokens, head_dim]`, and `values`,
    /// `[tokens, value_dim]`. Whatever was there before is gone.
    pub(super) fn attend(
        &mut self,
        query: &[f32],
        scale: f32,
        (keys, values): (MatrixRef<'_>, MatrixRef<'_>),
        listed: Listed<'_>,
    ) {
        products(
            query,
            scale,
            keys.data(),
            listed.positions,
            &mut self.weights,
        );
        for (logit, added) in self.weights.iter_mut().zip(listed.log_weights) {
            *logit += added;
        }
        let largest = self
            .weights
            .iter()
            .copied()
            .fold(f32::NEG_INFINITY, f32::max);
        let mut sum = 0.0;
        for weight in &mut self.weights {
            *weight = (*weight - largest).exp();
            sum += f64::from(*weight);
        }
        self.partial.largest = largest;
        self.partial.sum = sum;
        self.partial.values.fill(0.0);
        let out = &mut self.partial.values;
        if listed.factors.is_empty() {
            accumulate(&self.weights, values.data(), listed.positions, out);
        } else {
            let scaled = self.weights.iter().zip(listed.factors);
            let scaled: Vec<f32> = scaled.map(|(weight, factor)| weight * factor).collect();
            accumulate(&scaled, values.data(), listed.positions, out);
        }
    }
}

/// `scale * <query, key>` of the rows `positions` of `keys`.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512bw+avx512vl", "x86_64+avx2"))]
pub(super) fn products(
    query: &[f32],
    scale: f32,
    keys: &[f32],
    positions: &[u32],
    out: &mut Vec<f32>,
) {
    let dim = query.len();
    let row = |position: u32| &keys[position as usize * dim..][..dim];
    out.clear();
    // Four keys at once: what is left of their lanes is added up together.
    let (fours, others) = positions.as_chunks::<4>();
    for at in fours {
        let rows = [row(at[0]), row(at[1]), row(at[2]), row(at[3])];
        let quads = [
            quarter(query, rows[0]),
            quarter(query, rows[1]),
            quarter(query, rows[2]),
            quarter(query, rows[3]),
        ];
        let lane = |lane: usize| {
            [
                quads[0][lane],
                quads[1][lane],
                quads[2][lane],
                quads[3][lane],
            ]
        };
        let (first, second, third, fourth) = (lane(0), lane(1), lane(2), lane(3));
        for key in 0..4 {
            let sum = (first[key] + third[key]) + (second[key] + fourth[key]);
            out.push(sum * scale);
        }
    }
    for at in others {
        let quad = quarter(query, row(*at));
        out.push(((quad[0] + quad[2]) + (quad[1] + quad[3])) * scale);
    }
    let (whole, rest) = query.as_chunks::<LANES>();
    if !rest.is_empty() {
        let from = whole.len() * LANES;
        for (out, at) in out.iter_mut().zip(positions) {
            let own = rest.iter().zip(&row(*at)[from..]);
            *out += own.map(|(x, y)| x * y).sum::<f32>() * scale;
        }
    }
}

/// `<query, key>` in four sums, of what fills lanes of sixteen: these are added to half as many, and again.
#[expect(
    clippy::inline_always,
    reason = "part of a loop with instructions found at run time"
)]
#[inline(always)]
fn quarter(query: &[f32], key: &[f32]) -> [f32; 4] {
    let (query, _) = query.as_chunks::<LANES>();
    let (key, _) = key.as_chunks::<LANES>();
    let mut sums = [0.0_f32; LANES];
    for (x, y) in query.iter().zip(key) {
        for lane in 0..LANES {
            sums[lane] += x[lane] * y[lane];
        }
    }
    let mut eight = [0.0_f32; 8];
    for lane in 0..8 {
        eight[lane] = sums[lane] + sums[lane + 8];
    }
    let mut four = [0.0_f32; 4];
    for lane in 0..4 {
        four[lane] = eight[lane] + eight[lane + 4];
    }
    four
}

/// `out += sum of weights * rows`, of the rows `positions` of `values`.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512bw+avx512vl", "x86_64+avx2"))]
fn accumulate(weights: &[f32], values: &[f32], positions: &[u32], out: &mut [f32]) {
    let dim = out.len();
    let row = |position: u32| &values[position as usize * dim..][..dim];
    // Four rows at once: `out` is then read and written once for all of them.
    let (fours, rest) = positions.as_chunks::<4>();
    let (weights, weights_rest) = weights.as_chunks::<4>();
    for (at, w) in fours.iter().zip(weights) {
        let (a, b, c, d) = (row(at[0]), row(at[1]), row(at[2]), row(at[3]));
        let rows = a.iter().zip(b).zip(c.iter().zip(d));
        for (out, ((a, b), (c, d))) in out.iter_mut().zip(rows) {
            *out += (w[0] * a + w[1] * b) + (w[2] * c + w[3] * d);
        }
    }
    for (at, weight) in rest.iter().zip(weights_rest) {
        for (out, value) in out.iter_mut().zip(row(*at)) {
            *out += weight * value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys `[5, 3]` with logits 0, 1, 2, 3, 4 times 0.5, and values `[5, 2]`.
    fn five() -> (Vec<f32>, Vec<f32>) {
        let keys = (0..5_u8).flat_map(|at| [f32::from(at), 0.0, 0.0]).collect();
        let values = (0..5_u8).flat_map(|at| [1.0, f32::from(at * at)]).collect();
        (keys, values)
    }

    fn attend(positions: &[u32], log_weights: &[f32], factors: &[f32]) -> Row {
        let (keys, values) = five();
        let mut row = Row::new(2);
        let listed = Listed {
            positions,
            log_weights,
            factors,
        };
        let matrices = (
            MatrixRef::new(&keys, 5, 3).unwrap(),
            MatrixRef::new(&values, 5, 2).unwrap(),
        );
        row.attend(&[1.0, 9.0, 9.0], 0.5, matrices, listed);
        row
    }

    fn output(partial: &Partial) -> [f32; 2] {
        let mut out = [0.0; 2];
        partial.write(&mut out);
        out
    }

    #[test]
    fn a_softmax_worked_by_hand() {
        let row = attend(&[1, 3], &[], &[]);
        // Weights e^0.5 and e^1.5, values 1 and 9: (1 + 9 e) / (1 + e).
        let e = std::f32::consts::E;
        let [ones, squares] = output(&row.partial);
        assert!((ones - 1.0).abs() < 1e-6);
        assert!((squares - (1.0 + 9.0 * e) / (1.0 + e)).abs() < 1e-5);
    }

    #[test]
    fn parts_merge_into_the_whole() {
        let whole = output(&attend(&[0, 1, 2, 3, 4], &[], &[]).partial);
        let mut merged = Partial::empty(2);
        for part in [&[4_u32, 0][..], &[], &[1, 2, 3]] {
            merged.merge(&attend(part, &[], &[]).partial);
        }
        let merged = output(&merged);
        for (merged, whole) in merged.iter().zip(whole) {
            assert!(
                (merged - whole).abs() < 2e-6 * whole.abs(),
                "{merged} {whole}"
            );
        }
    }

    #[test]
    fn a_log_weight_counts_a_key_more_than_once_and_a_factor_only_its_value() {
        let twice = output(&attend(&[1, 3], &[0.0, 2.0_f32.ln()], &[]).partial);
        let listed = output(&attend(&[1, 3, 3], &[], &[]).partial);
        assert!((twice[1] - listed[1]).abs() < 1e-5);
        let half = output(&attend(&[1, 3], &[], &[0.5, 0.5]).partial);
        let all = output(&attend(&[1, 3], &[], &[]).partial);
        assert!((half[1] - 0.5 * all[1]).abs() < 1e-6);
    }

    #[test]
    fn no_keys_give_zeros() {
        assert!(
            output(&attend(&[], &[], &[]).partial)
                .iter()
                .all(|value| *value == 0.0)
        );
    }
}
