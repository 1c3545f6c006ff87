//! Attention of single queries: the next token, whose queries share keys and values that may be kept in 16 bits.

use super::exponential::exponentials;
use crate::key_value_store::KeptTokens;
use multiversion::multiversion;
use quantizers::linalg::product::Strided;
use quantizers::scratch::Scratch;

/// Sums of one product that are kept apart.
const LANES: usize = 8;
/// Keys whose sums are kept in registers side by side.
const AT_ONCE: usize = 4;
/// Tokens whose keys or values are widened at a time: those of a head then stay in the cache next to the core for all of
/// its queries.
const TOKENS: usize = 64;

/// `softmax(Q Kᵀ · scale) V` of the queries `[heads, dim]` of one token that share head `at` of keys and values, which
/// they see all of; `out` is `[heads, value_dim]`.
///
/// A query comes out alike whoever it shares them with.
pub fn attend_group(
    queries: &[f32],
    heads: usize,
    kept: &KeptTokens<'_>,
    at: usize,
    scale: f32,
    out: &mut [f32],
) {
    let tokens = kept.tokens;
    let [dim, value_dim] = [queries.len() / heads, out.len() / heads];
    let blocks = || {
        let starts = (0..tokens).step_by(TOKENS);
        starts.map(|from| from..(from + TOKENS).min(tokens))
    };
    let mut scores = Scratch::unwritten(heads * tokens);
    // What is as it is kept needs none.
    let mut room = Scratch::with_capacity(TOKENS.min(tokens) * dim.max(value_dim));
    let (columns, width) = (at * dim..(at + 1) * dim, kept.keys.count() / tokens);
    for block in blocks() {
        let keys = kept
            .keys
            .part(block.clone(), columns.clone(), width, &mut room);
        let queries = queries.chunks_exact(dim);
        for (query, scores) in queries.zip(scores.chunks_exact_mut(tokens)) {
            score_one(query, keys, &mut scores[block.clone()]);
        }
    }
    for scores in scores.chunks_exact_mut(tokens) {
        exponentials(scores, 0, tokens, scale);
    }
    out.fill(0.0);
    let columns = at * value_dim..(at + 1) * value_dim;
    let width = kept.values.count() / tokens;
    for block in blocks() {
        let values = kept
            .values
            .part(block.clone(), columns.clone(), width, &mut room);
        let shares = scores.chunks_exact(tokens);
        for (out, shares) in out.chunks_exact_mut(value_dim).zip(shares) {
            add_for_one(values, &shares[block.clone()], out);
        }
    }
}

/// Products of the only query with keys: one row is not worth arranging keys for a product of matrices. Four keys at a
/// time, whose sums do not wait for each other.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2"))]
pub(super) fn score_one(query: &[f32], keys: Strided<'_>, scores: &mut [f32]) {
    let (query, query_rest) = query.as_chunks::<LANES>();
    let mut at = 0;
    let (several, last) = scores.as_chunks_mut::<AT_ONCE>();
    for scores in several {
        let (a, a_rest) = keys.row(at).as_chunks::<LANES>();
        let (b, b_rest) = keys.row(at + 1).as_chunks::<LANES>();
        let (c, c_rest) = keys.row(at + 2).as_chunks::<LANES>();
        let (d, d_rest) = keys.row(at + 3).as_chunks::<LANES>();
        let (mut of_a, mut of_b) = ([0.0; LANES], [0.0; LANES]);
        let (mut of_c, mut of_d) = ([0.0; LANES], [0.0; LANES]);
        let chunks = query
            .len()
            .min(a.len())
            .min(b.len())
            .min(c.len().min(d.len()));
        for chunk in 0..chunks {
            add_products(&query[chunk], &a[chunk], &mut of_a);
            add_products(&query[chunk], &b[chunk], &mut of_b);
            add_products(&query[chunk], &c[chunk], &mut of_c);
            add_products(&query[chunk], &d[chunk], &mut of_d);
        }
        *scores = [
            with_rest(of_a, query_rest, a_rest),
            with_rest(of_b, query_rest, b_rest),
            with_rest(of_c, query_rest, c_rest),
            with_rest(of_d, query_rest, d_rest),
        ];
        at += AT_ONCE;
    }
    for score in last {
        let (key, key_rest) = keys.row(at).as_chunks::<LANES>();
        let mut sums = [0.0; LANES];
        for chunk in 0..query.len().min(key.len()) {
            add_products(&query[chunk], &key[chunk], &mut sums);
        }
        *score = with_rest(sums, query_rest, key_rest);
        at += 1;
    }
}

#[inline(always)]
fn add_products(query: &[f32; LANES], key: &[f32; LANES], sums: &mut [f32; LANES]) {
    for lane in 0..LANES {
        sums[lane] += query[lane] * key[lane];
    }
}

/// All lanes, and the products of what is left over.
#[inline(always)]
fn with_rest([a, b, c, d, e, f, g, h]: [f32; LANES], query: &[f32], key: &[f32]) -> f32 {
    let mut sum = ((a + e) + (b + f)) + ((c + g) + (d + h));
    for at in 0..query.len().min(key.len()) {
        sum += query[at] * key[at];
    }
    sum
}

/// Adds values by their shares to `out`.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2"))]
pub(super) fn add_for_one(values: Strided<'_>, shares: &[f32], out: &mut [f32]) {
    let (several, last) = shares.as_chunks::<AT_ONCE>();
    let width = out.len();
    let mut at = 0;
    for [a, b, c, d] in several {
        let first = &values.row(at)[..width];
        let second = &values.row(at + 1)[..width];
        let third = &values.row(at + 2)[..width];
        let fourth = &values.row(at + 3)[..width];
        for channel in 0..width {
            out[channel] = (((out[channel] + a * first[channel]) + b * second[channel])
                + c * third[channel])
                + d * fourth[channel];
        }
        at += AT_ONCE;
    }
    for share in last {
        for (sum, value) in out.iter_mut().zip(values.row(at)) {
            *sum += share * value;
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::super::attention::tests::{reference, wave};
    use super::*;
    use crate::key_value_store::{KeyValueStore, NewTokens};
    use crate::plain_cache::{CacheFloats, PlainCache};
    use half::f16;
    use quantizers::graph::Pattern;

    // The query of the last token, in f64 on what is kept.
    #[test]
    fn groups_attend_as_the_definition_says_to_what_is_kept() {
        let (tokens, heads, kv_heads, dim) = (2 * TOKENS + 11, 6, 2, 10);
        let rows = wave(tokens * 2 * kv_heads * dim, 0.7);
        let (keys, values) = rows.split_at(tokens * kv_heads * dim);
        let queries = wave(heads * dim, 0.3);
        for floats in CacheFloats::ALL {
            let mut cache = PlainCache::new(floats);
            cache.append(NewTokens {
                tokens,
                unrotated: keys,
                key: keys,
                value: values,
            });
            let kept = cache.last(usize::MAX, &|_| ());
            let as_kept = |x: f32| match floats {
                CacheFloats::F16 => f64::from(f16::from_f32(x).to_f32()),
                CacheFloats::F32 => f64::from(x),
            };
            for at in 0..kv_heads {
                let of_head = |rows: &[f32]| -> Vec<f64> {
                    let rows = rows.chunks_exact(kv_heads * dim);
                    rows.flat_map(|row| row[at * dim..][..dim].iter().map(|x| as_kept(*x)))
                        .collect()
                };
                let group = heads / kv_heads;
                let asked = &queries[at * group * dim..][..group * dim];
                let mut out = vec![9.0; group * dim];
                attend_group(asked, group, &kept, at, 0.8, &mut out);
                for (query, found) in asked.chunks_exact(dim).zip(out.chunks_exact(dim)) {
                    let all: Vec<f64> = query.iter().map(|x| f64::from(*x)).collect();
                    let all = all.repeat(tokens);
                    let inputs = [all, of_head(keys), of_head(values)];
                    let inputs = inputs.each_ref().map(Vec::as_slice);
                    let expected = reference(inputs, dim, Pattern::Causal, 0.8);
                    for (found, expected) in found.iter().zip(&expected[(tokens - 1) * dim..]) {
                        assert!(
                            (f64::from(*found) - expected).abs() < 1e-6,
                            "{floats}, {at}"
                        );
                    }
                    let mut alone = vec![0.0; dim];
                    attend_group(query, 1, &kept, at, 0.8, &mut alone);
                    assert_eq!(alone, found);
                }
            }
        }
    }
}
