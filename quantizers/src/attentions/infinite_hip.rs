//! InfiniteHiP (arXiv 2502.08910): the keys between sinks and a window pass through stages that each cut what is left into
//! shorter chunks and keep the best of them.
//!
//! A stage cuts the surviving keys into chunks and finds the best key of each by halving: one key of each half is compared
//! with the block of queries (largest product over query heads and queries), and the better half is halved on. The score of
//! a chunk is that of the key that is left. The stages cut into chunks of 256, 32 and 8 keys; at most `second_k`, `third_k`
//! and finally `k` keys are kept. A stage that would keep everything is skipped. Softmax attention runs over the sinks, the
//! keys kept and the window. The first stage compares with every `chunk / (2 log2 chunk)`-th key or so: the cost grows with
//! the square of the tokens, at a small constant.
//!
//! The search sees no key later than its block of queries, so a later key changes no earlier output; a later query of
//! the same block can change which keys an earlier one looks at. Choices are made anew for every block of queries.

use super::group::{Attended, GroupShape, HeadGroup, Rotary, Seen};
use super::hip::largest_products;
use super::moved::MovedKeys;
use super::run::Run;
use super::settings::{DENSE_LAYERS, Settings};
use super::{Attention, AttentionError, SparseAttention};
use crate::ParamError;
use std::ops::Range;

/// Keys of a chunk in each stage.
const CHUNKS: [usize; 3] = [256, 32, 8];
/// Of how many queries one is compared, in each stage.
const STRIDES: [usize; 3] = [4, 4, 1];

/// The registry entry.
pub(super) struct InfiniteHip;

impl Attention for InfiniteHip {
    fn name(&self) -> &'static str {
        "infinite-hip"
    }

    fn summary(&self) -> &'static str {
        "keys pass through stages that keep the best of ever shorter chunks"
    }

    fn parameters(&self) -> &'static [(&'static str, &'static str)] {
        &[
            ("k", "keys the last stage keeps; default 2048"),
            (
                "second_k",
                "keys that enter the second stage; default 32768",
            ),
            ("third_k", "keys that enter the third stage; default 8192"),
            ("block_size_q", "queries that choose together; default 64"),
            ("sink", "first tokens that every query sees; default 256"),
            ("window", "last tokens that every query sees; default 1024"),
            (
                "dense_below",
                "tokens up to which a query sees everything; default 8192",
            ),
            (
                "dense_layers",
                "first layers with exact attention; default 3",
            ),
            (
                "positions",
                "`original` (default): positions stay; `consecutive`: kept keys are rotated to consecutive positions, which needs a rotary embedding",
            ),
        ]
    }

    fn usual(&self, tokens: usize) -> String {
        let part = (tokens / 8).max(1);
        let (quarter, half) = (2 * part, 4 * part);
        format!(
            "k={quarter} second_k={half} third_k={half} sink=16 window={part} dense_below=0 dense_layers=0"
        )
    }

    fn configure(&self, table: &toml::Table) -> Result<Box<dyn SparseAttention>, ParamError> {
        let settings = Settings::new(self.name(), self.parameters(), table)?;
        let keeps = [
            settings.count("second_k", 1, 32768)?,
            settings.count("third_k", 1, 8192)?,
            settings.count("k", 1, 2048)?,
        ];
        Ok(Box::new(InfiniteHipAttention {
            keeps,
            block_size_q: settings.count("block_size_q", 1, 64)?,
            sink: settings.count("sink", 0, 256)?,
            window: settings.count("window", 0, 1024)?,
            dense_below: settings.count("dense_below", 0, 8192)?,
            dense_layers: settings.count("dense_layers", 0, DENSE_LAYERS)?,
            moves: settings.choice("positions", &[("original", false), ("consecutive", true)])?,
        }))
    }
}

struct InfiniteHipAttention {
    /// Keys each stage leaves.
    keeps: [usize; 3],
    block_size_q: usize,
    sink: usize,
    window: usize,
    dense_below: usize,
    dense_layers: usize,
    /// Whether kept keys are rotated to consecutive positions.
    moves: bool,
}

impl SparseAttention for InfiniteHipAttention {
    fn plan(&self, shape: &GroupShape) -> Result<Vec<String>, AttentionError> {
        if !shape.causal {
            return Err(AttentionError::CausalOnly(InfiniteHip.name()));
        }
        if self.moves && !shape.rotary {
            return Err(AttentionError::NeedsRotary(InfiniteHip.name()));
        }
        let mut notes = Vec::new();
        if shape.layer < self.dense_layers {
            notes.push(format!(
                "one of the first {} layers: exact",
                self.dense_layers
            ));
        } else if shape.tokens <= self.dense_below {
            notes.push(format!(
                "{} tokens are no more than dense_below: exact",
                shape.tokens
            ));
        }
        Ok(notes)
    }

    fn attend(
        &self,
        group: &HeadGroup<'_>,
        seen: Option<&mut dyn Seen>,
    ) -> Result<Attended, AttentionError> {
        self.plan(&group.shape())?;
        let rotary = group.rotary.filter(|_| self.moves);
        let mut run = Run::new(group, seen)?;
        run.holds(group.tokens());
        let dense = if group.layer < self.dense_layers {
            group.tokens()
        } else {
            group.tokens().min(self.dense_below)
        };
        run.exact_range(0..dense);
        for start in (dense..group.tokens()).step_by(self.block_size_q) {
            let queries = start..group.tokens().min(start.saturating_add(self.block_size_q));
            if queries.clone().all(|token| run.skips(token)) {
                continue;
            }
            self.block(&mut run, rotary, queries);
        }
        Ok(run.finish())
    }
}

impl InfiniteHipAttention {
    /// Attends with one block of queries.
    fn block(&self, run: &mut Run<'_, '_>, rotary: Option<&dyn Rotary>, queries: Range<usize>) {
        let window = queries.start.saturating_sub(self.window);
        let sink = self.sink.min(window);
        let mut positions = run.positions(0, sink).to_vec();
        for chunk in self.choose(run, &queries, sink..window) {
            positions.extend_from_slice(run.positions(chunk.start, chunk.end));
        }
        positions.extend_from_slice(run.positions(window, queries.end));
        let first = positions.len() - queries.len();
        let keys = MovedKeys::new(run.group, rotary, &positions);
        for (at, token) in (first..).zip(queries) {
            for head in run.heads() {
                keys.attend(run, (head, token), at);
            }
        }
    }

    /// The ranges of `past` that pass all stages, ascending.
    fn choose(
        &self,
        run: &mut Run<'_, '_>,
        queries: &Range<usize>,
        past: Range<usize>,
    ) -> Vec<Range<usize>> {
        let mut kept: Vec<Range<usize>> = std::iter::once(past).collect();
        for ((chunk, stride), keep) in CHUNKS.into_iter().zip(STRIDES).zip(self.keeps) {
            if kept.iter().map(Range::len).sum::<usize>() <= keep {
                continue;
            }
            let chunks: Vec<Range<usize>> = kept
                .iter()
                .flat_map(|range| {
                    let starts = range.clone().step_by(chunk);
                    starts.map(|start| start..range.end.min(start + chunk))
                })
                .collect();
            let scores = best_keys(run, queries, stride, &chunks);
            let mut order: Vec<usize> = (0..chunks.len()).collect();
            // Stable: of equal scores the earlier chunk stays.
            order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
            order.truncate((keep / chunk).max(1));
            order.sort_unstable();
            kept = order.into_iter().map(|at| chunks[at].clone()).collect();
        }
        kept
    }
}

/// The score of the key that halving finds in each of `chunks`.
fn best_keys(
    run: &mut Run<'_, '_>,
    queries: &Range<usize>,
    stride: usize,
    chunks: &[Range<usize>],
) -> Vec<f32> {
    let mut left = chunks.to_vec();
    let mut scores = vec![f32::NEG_INFINITY; chunks.len()];
    loop {
        // Chunks of one key are done once they have a score.
        let open: Vec<usize> = (0..left.len())
            .filter(|at| left[*at].len() > 1 || scores[*at] == f32::NEG_INFINITY)
            .collect();
        if open.is_empty() {
            return scores;
        }
        let halves: Vec<[Range<usize>; 2]> = open.iter().map(|at| halved(&left[*at])).collect();
        let keys = halves.iter().flatten().filter(|half| !half.is_empty());
        let keys: Vec<u32> = keys
            .map(|half| usize::midpoint(half.start, half.end - 1))
            .map(|token| run.positions(token, token + 1)[0])
            .collect();
        let mut largest = vec![f32::NEG_INFINITY; keys.len()];
        for head in run.heads() {
            let of_head = largest_products(run, head, queries.clone(), stride, &keys);
            for (largest, product) in largest.iter_mut().zip(of_head) {
                *largest = largest.max(product);
            }
        }
        let mut largest = largest.into_iter();
        for (at, [first, second]) in open.into_iter().zip(halves) {
            let score = largest.next().unwrap_or(f32::NEG_INFINITY);
            (left[at], scores[at]) = (first, score);
            if !second.is_empty() {
                let other = largest.next().unwrap_or(f32::NEG_INFINITY);
                if other > score {
                    (left[at], scores[at]) = (second, other);
                }
            }
        }
    }
}

/// The two halves of `range`; the second is empty where it has one key.
fn halved(range: &Range<usize>) -> [Range<usize>; 2] {
    let middle = range.start + range.len().div_ceil(2);
    [range.start..middle, middle..range.end]
}
