//! All keys of a query at once.

use super::HeadAttention;
use crate::integer::kernel::Mode;
use crate::integer::{Arithmetic, ArithmeticError, Checked, Wrapping};

/// Codes of one head, row by row.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// `[queries, head_dim]`.
    pub queries: &'a [u8],
    /// `[keys, head_dim]`.
    pub keys: &'a [i8],
    /// `[keys, head_dim]`.
    pub values: &'a [i8],
}

impl HeadAttention {
    /// Output codes `[queries, head_dim]` of all queries, every query over all its keys at once.
    ///
    /// Queries do not depend on each other: any tiling over them gives the same codes.
    ///
    /// # Errors
    /// In [`Mode::Checked`], the first fault.
    ///
    /// # Panics
    /// Inputs whose lengths are no multiples of the head, more keys than declared, or a mask or
    /// output of another length.
    pub fn whole(
        &self,
        mode: Mode,
        inputs: Inputs<'_>,
        out: &mut [i32],
    ) -> Result<(), ArithmeticError> {
        match mode {
            Mode::Fast => {
                self.whole_over(&Wrapping, inputs, out);
                Ok(())
            }
            Mode::Checked => {
                let checked = Checked::default();
                self.whole_over(&checked, inputs, out);
                checked.outcome()
            }
        }
    }

    fn whole_over<A: Arithmetic>(&self, arithmetic: &A, inputs: Inputs<'_>, out: &mut [i32]) {
        let keys = self.keys(inputs, out.len());
        let mut weights = Vec::with_capacity(keys);
        for (query, out) in out.chunks_exact_mut(self.head_dim).enumerate() {
            let scores = self.scores(arithmetic, inputs, query, 0..keys);
            let Some(highest) = scores.iter().map(|(_, score)| *score).max() else {
                out.fill(self.output.code(arithmetic, 0, 0));
                continue;
            };
            weights.clear();
            weights.extend(
                scores
                    .iter()
                    .map(|(key, score)| (*key, self.weight(arithmetic, highest, *score))),
            );
            let total = weights
                .iter()
                .fold(0, |sum, (_, weight)| arithmetic.add(sum, *weight));
            for (channel, code) in out.iter_mut().enumerate() {
                let sum = self.weighted(arithmetic, inputs, &weights, channel);
                *code = self.output.code(arithmetic, sum, total);
            }
        }
    }

    /// The number of keys, after all lengths are checked.
    pub(super) fn keys(&self, inputs: Inputs<'_>, out: usize) -> usize {
        let Inputs {
            queries,
            keys,
            values,
            ..
        } = inputs;
        assert!(
            keys.len().is_multiple_of(self.head_dim) && keys.len() == values.len(),
            "keys and values of a head"
        );
        assert!(
            queries.len().is_multiple_of(self.head_dim) && queries.len() == out,
            "queries and outputs of a head"
        );
        let count = keys.len() / self.head_dim;
        assert!(count <= self.most_keys, "at most {} keys", self.most_keys);
        count
    }

    /// Scores of `query` and the keys in `range`.
    pub(super) fn scores<A: Arithmetic>(
        &self,
        arithmetic: &A,
        inputs: Inputs<'_>,
        query: usize,
        range: std::ops::Range<usize>,
    ) -> Vec<(usize, i64)> {
        let width = self.head_dim;
        let row = &inputs.queries[query * width..][..width];
        let zero = i64::from(self.query_zero_point);
        let score = |key: usize| {
            let codes = &inputs.keys[key * width..][..width];
            row.iter().zip(codes).fold(0, |sum, (q, k)| {
                let query = arithmetic.sub(i64::from(*q), zero);
                let product = arithmetic.mul(query, i64::from(*k));
                arithmetic.declared(arithmetic.add(sum, product), 32)
            })
        };
        range.map(|key| (key, score(key))).collect()
    }

    /// By [`Decay`](super::Decay).
    pub(super) fn weight<A: Arithmetic>(&self, arithmetic: &A, highest: i64, score: i64) -> i64 {
        let distance = arithmetic.declared(arithmetic.sub(highest, score), 33);
        self.decay.weight(arithmetic, self.weight_bits, distance)
    }

    /// `sum p v` of one channel.
    pub(super) fn weighted<A: Arithmetic>(
        &self,
        arithmetic: &A,
        inputs: Inputs<'_>,
        weights: &[(usize, i64)],
        channel: usize,
    ) -> i64 {
        let bits = if self.weight_bits == 8 { 32 } else { 64 };
        weights.iter().fold(0, |sum, (key, weight)| {
            let value = i64::from(inputs.values[key * self.head_dim + channel]);
            let sum = arithmetic.add(sum, arithmetic.mul(*weight, value));
            arithmetic.declared(sum, bits)
        })
    }
}
