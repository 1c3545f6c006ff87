//! HiP attention (arXiv 2406.09827): each block of queries finds its best blocks of keys by a search that looks at
//! representatives, in `O(log tokens)` steps.
//!
//! The past is cut into `k / block_size_k` segments of equal length. Each step halves every segment, scores one
//! representative key of each half by its largest product with a query of the block, and keeps the best
//! `k / block_size_k` halves; after `log2(tokens / k)` steps the segments are single blocks of keys, and softmax
//! attention runs over those and the block of queries itself. `2 k / block_size_k * log2(tokens / k)` products a query,
//! and `k` more in the softmax.
//!
//! The search sees no key later than the block of queries, so a later key changes no earlier output. The queries of one
//! block choose together, as published: a later *query* of the block can change which keys an earlier one looks at.
//! Choices are made anew for every block, which is the published decoding with a refresh at every block of queries.

use super::group::{Attended, GroupShape, HeadGroup, Seen};
use super::run::Run;
use super::settings::{DENSE_LAYERS, Settings};
use super::softmax::{Listed, products};
use super::{Attention, AttentionError, SparseAttention};
use crate::ParamError;
use std::ops::Range;

/// The registry entry.
pub(super) struct Hip;

impl Attention for Hip {
    fn name(&self) -> &'static str {
        "hip"
    }

    fn summary(&self) -> &'static str {
        "each block of queries finds its best blocks of keys by a search over representatives"
    }

    fn parameters(&self) -> &'static [(&'static str, &'static str)] {
        &[
            ("k", "keys a query keeps from before its block; default 512"),
            ("block_size_q", "queries that choose together; default 32"),
            ("block_size_k", "keys that are kept together; default 2"),
            (
                "representative",
                "key that stands for a half: `middle` (default) or `first`",
            ),
            (
                "dense_layers",
                "first layers with exact attention; default 3",
            ),
        ]
    }

    fn usual(&self, tokens: usize) -> String {
        format!("k={} dense_layers=0", (tokens / 4).max(2))
    }

    fn configure(&self, table: &toml::Table) -> Result<Box<dyn SparseAttention>, ParamError> {
        let settings = Settings::new(self.name(), self.parameters(), table)?;
        let search = HipSearch::new(
            settings.count("k", 1, HipSearch::KEYS)?,
            settings.count("block_size_q", 1, HipSearch::QUERIES)?,
            settings.count("block_size_k", 1, HipSearch::BLOCK)?,
        );
        let middle = settings.choice("representative", &[("middle", true), ("first", false)])?;
        Ok(Box::new(HipAttention {
            search: HipSearch { middle, ..search },
            dense_layers: settings.count("dense_layers", 0, DENSE_LAYERS)?,
        }))
    }
}

struct HipAttention {
    search: HipSearch,
    dense_layers: usize,
}

impl SparseAttention for HipAttention {
    fn plan(&self, shape: &GroupShape) -> Result<Vec<String>, AttentionError> {
        if !shape.causal {
            return Err(AttentionError::CausalOnly(Hip.name()));
        }
        let mut notes = Vec::new();
        if shape.layer < self.dense_layers {
            notes.push(format!(
                "one of the first {} layers: exact",
                self.dense_layers
            ));
        } else if shape.tokens <= self.search.k {
            notes.push(format!("{} tokens are no more than k: exact", shape.tokens));
        }
        Ok(notes)
    }

    fn attend(
        &self,
        group: &HeadGroup<'_>,
        seen: Option<&mut dyn Seen>,
    ) -> Result<Attended, AttentionError> {
        self.plan(&group.shape())?;
        let mut run = Run::new(group, seen)?;
        if group.layer < self.dense_layers {
            run.exact_range(0..group.tokens());
        } else {
            self.search.run(&mut run);
        }
        Ok(run.finish())
    }
}

/// The search and the attention over what it finds.
#[derive(Debug, Clone, Copy)]
pub(super) struct HipSearch {
    k: usize,
    block_size_q: usize,
    block_size_k: usize,
    /// Whether the middle key of a half represents it, or the first.
    middle: bool,
}

impl HipSearch {
    pub(super) const KEYS: usize = 512;
    pub(super) const QUERIES: usize = 32;
    pub(super) const BLOCK: usize = 2;

    pub(super) fn new(k: usize, block_size_q: usize, block_size_k: usize) -> Self {
        Self {
            k,
            block_size_q,
            block_size_k,
            middle: true,
        }
    }

    /// Attends with the queries of all tokens.
    pub(super) fn run(&self, run: &mut Run<'_, '_>) {
        // Every key stays where later blocks can find it.
        run.holds(run.tokens());
        let mut positions = Vec::new();
        for start in (0..run.tokens()).step_by(self.block_size_q) {
            let queries = start..run.tokens().min(start.saturating_add(self.block_size_q));
            if queries.clone().all(|token| run.skips(token)) {
                continue;
            }
            for head in run.heads() {
                self.choose(run, head, queries.clone(), &mut positions);
                for token in queries.clone() {
                    positions.extend_from_slice(run.positions(token, token + 1));
                    run.listed(head, token, Listed::plain(&positions));
                }
            }
        }
    }

    /// Lists the keys before `queries` that they keep, ascending.
    fn choose(
        &self,
        run: &mut Run<'_, '_>,
        head: usize,
        queries: Range<usize>,
        out: &mut Vec<u32>,
    ) {
        out.clear();
        let blocks = queries.start / self.block_size_k;
        for segment in self.search(run, head, queries.clone(), blocks) {
            let keys = segment.start * self.block_size_k..segment.end * self.block_size_k;
            out.extend_from_slice(run.positions(keys.start, keys.end));
        }
        // Keys before the queries that fill no block.
        out.extend_from_slice(run.positions(blocks * self.block_size_k, queries.start));
    }

    /// The segments of `0..blocks` that are left when none can be halved, ascending.
    fn search(
        &self,
        run: &mut Run<'_, '_>,
        head: usize,
        queries: Range<usize>,
        blocks: usize,
    ) -> Vec<Range<usize>> {
        let kept = (self.k / self.block_size_k).max(1);
        if blocks <= kept {
            return std::iter::once(0..blocks).collect();
        }
        let bound = |at: usize| at * blocks / kept;
        let mut segments: Vec<Range<usize>> =
            (0..kept).map(|at| bound(at)..bound(at + 1)).collect();
        while segments.iter().any(|segment| segment.len() > 1) {
            let halves = segments.iter().flat_map(|segment| {
                let middle = segment.start + segment.len().div_ceil(2);
                [segment.start..middle, middle..segment.end]
            });
            segments = halves.filter(|half| !half.is_empty()).collect();
            let representatives = segments.iter().map(|half| self.representative(half));
            let representatives: Vec<u32> = representatives
                .map(|token| run.positions(token, token + 1)[0])
                .collect();
            let scores = largest_products(run, head, queries.clone(), 1, &representatives);
            let mut order: Vec<usize> = (0..segments.len()).collect();
            // Stable: of equal scores the earlier segment stays.
            order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
            order.truncate(kept);
            order.sort_unstable();
            segments = order.into_iter().map(|at| segments[at].clone()).collect();
        }
        segments
    }

    /// The key that stands for the blocks of `half`.
    fn representative(&self, half: &Range<usize>) -> usize {
        let keys = half.start * self.block_size_k..half.end * self.block_size_k;
        if self.middle {
            usize::midpoint(keys.start, keys.end - 1)
        } else {
            keys.start
        }
    }
}

/// The largest product of each key of `positions` with one of every `stride`-th of `queries`; counted.
pub(super) fn largest_products(
    run: &mut Run<'_, '_>,
    head: usize,
    queries: Range<usize>,
    stride: usize,
    positions: &[u32],
) -> Vec<f32> {
    let group = run.group;
    let mut largest = vec![f32::NEG_INFINITY; positions.len()];
    let mut row = Vec::new();
    for token in queries.step_by(stride) {
        let query = group.queries[head].row(token);
        products(query, group.scale, group.keys.data(), positions, &mut row);
        for (largest, product) in largest.iter_mut().zip(&row) {
            *largest = largest.max(*product);
        }
        run.count(positions.len());
    }
    largest
}
