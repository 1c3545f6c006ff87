//! Gradient of [`attend`](super::attention::attend) for one key-value head and the query heads it serves.

use super::attention::{Head, QUERIES, shifted, visible_to_block};
use super::exponential::exp;
use super::product::{Strided, multiply};
use multiversion::multiversion;
use quantizers::graph::Pattern;
use std::ops::Range;

/// One query head as the forward pass left it, and the gradient of its output.
#[derive(Debug, Clone, Copy)]
pub struct Attended<'a> {
    /// What went in.
    pub head: Head<'a>,
    /// What came out, `[tokens, head_dim]`.
    pub output: Strided<'a>,
    /// Logarithms of the sums of exponentials, `[tokens]`.
    pub log_sums: &'a [f32],
    /// Gradient of the output, `[tokens, head_dim]`.
    pub gradient: Strided<'a>,
}

/// Where the gradients of a head's inputs go, contiguous `[tokens, head_dim]` each.
#[derive(Debug)]
pub struct HeadGradient<'a> {
    /// Of the queries; overwritten.
    pub query: &'a mut [f32],
    /// Of the keys; added to.
    pub key: &'a mut [f32],
    /// Of the values; added to.
    pub value: &'a mut [f32],
}

/// Sends the gradient of one head's output back to its inputs.
///
/// With probabilities P, output gradient G and outputs O: dV = Pᵀ G, S = scale · P ∘ (G Vᵀ - rowsum(G ∘ O)),
/// dQ = S K, dK = Sᵀ Q. Adding to keys and values lets query heads share them.
pub fn attend_gradient(
    attended: Attended<'_>,
    pattern: Pattern,
    scale: f32,
    out: &mut HeadGradient<'_>,
) {
    let head = attended.head;
    let (tokens, width) = (head.query.rows(), head.query.cols());
    let all_keys = head.key.rows();
    let mut buffers = Buffers::default();
    for from in (0..tokens).step_by(QUERIES) {
        let block = from..(from + QUERIES).min(tokens);
        let keys = visible_to_block(pattern, &block, all_keys);
        buffers.fill(attended, &block, &keys);
        for (row, query) in block.clone().enumerate() {
            let seen = shifted(&pattern.visible(query, all_keys), keys.start);
            let gradient = attended.gradient.row(query);
            let rows = row * keys.len()..(row + 1) * keys.len();
            probabilities_and_slopes(
                &mut buffers.scores[rows.clone()],
                &mut buffers.slopes[rows],
                seen,
                Row {
                    scale,
                    log_sum: attended.log_sums[query],
                    gradient,
                    output: attended.output.row(query),
                },
            );
        }
        let probabilities = Strided::row_major(&buffers.scores, keys.len());
        let slopes = Strided::row_major(&buffers.slopes, keys.len());
        let query = head.query.slice_rows(block.start, block.end);
        let key = head.key.slice_rows(keys.start, keys.end);
        let gradient = attended.gradient.slice_rows(block.start, block.end);
        let span = keys.start * width..keys.end * width;
        let value_span = keys.start * head.value.cols()..keys.end * head.value.cols();
        let query_out = &mut out.query[block.start * width..block.end * width];
        multiply(slopes, key, query_out, width, false);
        multiply(slopes.transposed(), query, &mut out.key[span], width, true);
        let value_out = &mut out.value[value_span];
        multiply(
            probabilities.transposed(),
            gradient,
            value_out,
            head.value.cols(),
            true,
        );
    }
}

/// `[queries, keys]` of one block, each.
#[derive(Default)]
struct Buffers {
    scores: Vec<f32>,
    slopes: Vec<f32>,
}

impl Buffers {
    /// `scores = Q Kᵀ`, `slopes = G Vᵀ`.
    fn fill(&mut self, attended: Attended<'_>, block: &Range<usize>, keys: &Range<usize>) {
        let head = attended.head;
        let pairs = [
            (&mut self.scores, head.query, head.key),
            (&mut self.slopes, attended.gradient, head.value),
        ];
        for (buffer, left, right) in pairs {
            buffer.resize(block.len() * keys.len(), 0.0);
            let left = left.slice_rows(block.start, block.end);
            let right = right.slice_rows(keys.start, keys.end).transposed();
            multiply(left, right, buffer, keys.len(), false);
        }
    }
}

/// What one query contributes to its row of a block.
struct Row<'a> {
    scale: f32,
    log_sum: f32,
    gradient: &'a [f32],
    output: &'a [f32],
}

/// Scores become probabilities and slopes the gradient of the scores; zeros outside `seen`.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2"))]
fn probabilities_and_slopes(
    scores: &mut [f32],
    slopes: &mut [f32],
    seen: Range<usize>,
    row: Row<'_>,
) {
    for hidden in [0..seen.start, seen.end..scores.len()] {
        scores[hidden.clone()].fill(0.0);
        slopes[hidden].fill(0.0);
    }
    let pairs = row.gradient.iter().zip(row.output);
    let along: f32 = pairs.map(|(g, o)| g * o).sum();
    let pairs = scores[seen.clone()].iter_mut().zip(&mut slopes[seen]);
    for (score, slope) in pairs {
        *score = exp(*score * row.scale - row.log_sum);
        *slope = *score * (*slope - along) * row.scale;
    }
}

#[cfg(test)]
mod tests {
    use super::super::attention::attend;
    use super::super::attention::tests::{PATTERNS, reference, wave};
    use super::*;

    // Two query heads on one key-value head; central differences of the definition in f64.
    #[test]
    fn gradients_match_differences_with_shared_keys() {
        let (tokens, width, scale) = (QUERIES + 9, 2, 0.8);
        let queries = [wave(tokens * width, 0.7), wave(tokens * width, 1.9)];
        let (key, value) = (wave(tokens * width, 0.31), wave(tokens * width, 1.1));
        let gradients = [wave(tokens * width, 2.3), wave(tokens * width, 0.17)];
        let exact = |x: &[f32]| -> Vec<f64> { x.iter().map(|x| f64::from(*x)).collect() };
        for pattern in PATTERNS {
            let size = tokens * width;
            let mut query_out = [vec![0.0; size], vec![0.0; size]];
            let (mut key_out, mut value_out) = (vec![0.0; size], vec![0.0; size]);
            for which in 0..2 {
                let head = Head {
                    query: Strided::row_major(&queries[which], width),
                    key: Strided::row_major(&key, width),
                    value: Strided::row_major(&value, width),
                };
                let (mut out, mut log_sums) = (vec![0.0; size], vec![0.0; tokens]);
                attend(head, pattern, scale, &mut out, &mut log_sums);
                let attended = Attended {
                    head,
                    output: Strided::row_major(&out, width),
                    log_sums: &log_sums,
                    gradient: Strided::row_major(&gradients[which], width),
                };
                let mut out = HeadGradient {
                    query: &mut query_out[which],
                    key: &mut key_out,
                    value: &mut value_out,
                };
                attend_gradient(attended, pattern, scale, &mut out);
            }
            let inputs = [
                exact(&queries[0]),
                exact(&queries[1]),
                exact(&key),
                exact(&value),
            ];
            let loss = |inputs: &[Vec<f64>; 4]| -> f64 {
                (0..2)
                    .map(|which| {
                        let head = [&inputs[which][..], &inputs[2][..], &inputs[3][..]];
                        let out = reference(head, width, pattern, f64::from(scale));
                        let pairs = out.iter().zip(&gradients[which]);
                        pairs.map(|(o, g)| o * f64::from(*g)).sum::<f64>()
                    })
                    .sum()
            };
            let found = [&query_out[0], &query_out[1], &key_out, &value_out];
            for (which, found) in found.into_iter().enumerate() {
                for entry in (0..size).step_by(13) {
                    let mut moved = inputs.clone();
                    moved[which][entry] += 1e-5;
                    let above = loss(&moved);
                    moved[which][entry] -= 2e-5;
                    let difference = (above - loss(&moved)) / 2e-5;
                    let error = (f64::from(found[entry]) - difference).abs();
                    assert!(
                        error < 1e-5,
                        "{pattern:?} input {which} entry {entry}: {error:e}"
                    );
                }
            }
        }
    }
}
