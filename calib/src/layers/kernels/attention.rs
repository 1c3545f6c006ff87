//! Attention of one head, a block of queries at a time: scores never leave the cache.

use super::exponential::exponentials;
use super::one_query::{add_for_one, score_one};
use quantizers::graph::Pattern;
use quantizers::linalg::product::{Strided, multiply};
use std::ops::Range;

/// Queries per block.
pub(super) const QUERIES: usize = 64;

/// Queries, keys and values of one head, `[tokens, head_dim]` each; there may be more keys than queries
/// where every query sees all of them.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// Queries.
    pub query: Strided<'a>,
    /// Keys.
    pub key: Strided<'a>,
    /// Values.
    pub value: Strided<'a>,
}

/// `softmax(Q Kᵀ · scale) V` over the keys `pattern` lets a query see.
///
/// `out` is `[tokens, head_dim]`, contiguous. `log_sums` gets, per query, the logarithm of the sum of
/// exponentials its probabilities were divided by: all that the gradient needs to find them again.
pub fn attend(head: Head<'_>, pattern: Pattern, scale: f32, out: &mut [f32], log_sums: &mut [f32]) {
    attend_from(head, 0, (pattern, scale), out, log_sums);
}

/// The same of queries that stand at position `first` and after, with keys up to the last of them.
pub fn attend_from(
    head: Head<'_>,
    first: usize,
    (pattern, scale): (Pattern, f32),
    out: &mut [f32],
    log_sums: &mut [f32],
) {
    let (tokens, width) = (head.query.rows(), head.value.cols());
    let all_keys = head.key.rows();
    let mut scores = Vec::new();
    if tokens == 1 {
        let keys = pattern.visible(first, all_keys);
        scores.resize(keys.len(), 0.0);
        let key = head.key.slice_rows(keys.start, keys.end);
        score_one(head.query.row(0), key, &mut scores);
        let seen = scores.len();
        log_sums[0] = exponentials(&mut scores, 0, seen, scale);
        out.fill(0.0);
        add_for_one(head.value.slice_rows(keys.start, keys.end), &scores, out);
        return;
    }
    for from in (0..tokens).step_by(QUERIES) {
        let block = from..(from + QUERIES).min(tokens);
        let places = block.start + first..block.end + first;
        let keys = visible_to_block(pattern, &places, all_keys);
        let columns = keys.len();
        scores.resize(block.len() * columns, 0.0);
        let query = head.query.slice_rows(block.start, block.end);
        let key = head.key.slice_rows(keys.start, keys.end);
        multiply(query, key.transposed(), &mut scores, columns, false);
        for (query, row) in block.clone().zip(scores.chunks_exact_mut(columns)) {
            let seen = shifted(&pattern.visible(first + query, all_keys), keys.start);
            log_sums[query] = exponentials(row, seen.start, seen.end, scale);
        }
        let value = head.value.slice_rows(keys.start, keys.end);
        let out = &mut out[block.start * width..block.end * width];
        multiply(
            Strided::row_major(&scores, columns),
            value,
            out,
            width,
            false,
        );
    }
}

/// Shares of attention of queries that stand at position `first` and after, `[queries, keys]`; zero for keys that a
/// query does not see.
pub fn shares_from(
    (query, key): (Strided<'_>, Strided<'_>),
    first: usize,
    (pattern, scale): (Pattern, f32),
    out: &mut [f32],
) {
    let keys = key.rows();
    multiply(query, key.transposed(), out, keys, false);
    for (at, row) in out.chunks_exact_mut(keys.max(1)).enumerate() {
        let seen = pattern.visible(first + at, keys);
        exponentials(row, seen.start, seen.end, scale);
    }
}

/// Keys seen by any query of a block.
pub(super) fn visible_to_block(
    pattern: Pattern,
    block: &Range<usize>,
    keys: usize,
) -> Range<usize> {
    pattern.visible(block.start, keys).start..pattern.visible(block.end - 1, keys).end
}

/// `keys` counted from `origin`.
pub(super) fn shifted(keys: &Range<usize>, origin: usize) -> Range<usize> {
    keys.start - origin..keys.end - origin
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn wave(length: usize, frequency: f32) -> Vec<f32> {
        (0..length).map(|i| (i as f32 * frequency).sin()).collect()
    }

    /// The definition in f64 on contiguous `[tokens, width]` inputs.
    pub(crate) fn reference(
        [q, k, v]: [&[f64]; 3],
        width: usize,
        pattern: Pattern,
        scale: f64,
    ) -> Vec<f64> {
        let tokens = q.len() / width;
        let mut out = Vec::new();
        for query in 0..tokens {
            let seen = pattern.visible(query, tokens);
            let weights: Vec<f64> = seen
                .clone()
                .map(|key| {
                    let dot: f64 = (0..width)
                        .map(|d| q[query * width + d] * k[key * width + d])
                        .sum();
                    (dot * scale).exp()
                })
                .collect();
            let total: f64 = weights.iter().sum();
            for d in 0..width {
                let pairs = seen.clone().zip(&weights);
                out.push(pairs.map(|(key, w)| w * v[key * width + d]).sum::<f64>() / total);
            }
        }
        out
    }

    pub(crate) const PATTERNS: [Pattern; 5] = [
        Pattern::Full,
        Pattern::Causal,
        Pattern::Sliding { window: 1 },
        Pattern::Sliding { window: 40 },
        Pattern::Sliding { window: 1000 },
    ];

    #[test]
    fn every_pattern_equals_the_definition_across_blocks() {
        let (tokens, width) = (2 * QUERIES + 11, 6);
        let x = wave(tokens * 3 * width, 0.7);
        let column = |which: usize| -> Vec<f64> {
            x.chunks_exact(3 * width)
                .flat_map(|row| row[which * width..][..width].iter().map(|x| f64::from(*x)))
                .collect()
        };
        let view = |which: usize| Strided::new(&x[which * width..], tokens, width, 3 * width, 1);
        for pattern in PATTERNS {
            let head = Head {
                query: view(0),
                key: view(1),
                value: view(2),
            };
            let (mut out, mut log_sums) = (vec![9.0; tokens * width], vec![0.0; tokens]);
            attend(head, pattern, 0.8, &mut out, &mut log_sums);
            let columns = [column(0), column(1), column(2)];
            let expected = reference(columns.each_ref().map(Vec::as_slice), width, pattern, 0.8);
            for (found, expected) in out.iter().zip(&expected) {
                assert!((f64::from(*found) - expected).abs() < 1e-6, "{pattern:?}");
            }
        }
    }

    #[test]
    fn the_last_queries_attend_as_they_do_among_all() {
        let (tokens, width, first) = (QUERIES + 40, 6, 23);
        let x = wave(tokens * 3 * width, 0.3);
        let view = |which: usize, from: usize, to: usize| {
            Strided::new(&x[which * width..], tokens, width, 3 * width, 1).slice_rows(from, to)
        };
        for pattern in PATTERNS {
            let all = Head {
                query: view(0, 0, tokens),
                key: view(1, 0, tokens),
                value: view(2, 0, tokens),
            };
            let (mut out, mut log_sums) = (vec![0.0; tokens * width], vec![0.0; tokens]);
            attend(all, pattern, 0.8, &mut out, &mut log_sums);
            let last = Head {
                query: view(0, first, tokens),
                ..all
            };
            let count = tokens - first;
            let (mut found, mut sums) = (vec![0.0; count * width], vec![0.0; count]);
            attend_from(last, first, (pattern, 0.8), &mut found, &mut sums);
            let mut shares = vec![9.0; count * tokens];
            shares_from((last.query, last.key), first, (pattern, 0.8), &mut shares);
            let mut summed = vec![0.0; count * width];
            let shares = Strided::row_major(&shares, tokens);
            multiply(shares, last.value, &mut summed, width, false);
            for ((found, summed), exact) in found.iter().zip(&summed).zip(&out[first * width..]) {
                assert!((found - exact).abs() < 1e-6, "{pattern:?}");
                assert!((summed - exact).abs() < 1e-6, "{pattern:?}");
            }
        }
    }

    #[test]
    fn a_score_that_is_not_a_number_is_not_hidden() {
        let x = [f32::NAN, 1.0];
        let view = Strided::row_major(&x, 1);
        let head = Head {
            query: view,
            key: view,
            value: view,
        };
        let (mut out, mut log_sums) = ([0.0; 2], [0.0; 2]);
        attend(head, Pattern::Causal, 1.0, &mut out, &mut log_sums);
        assert!(out.iter().all(|x| x.is_nan()));
    }
}
