//! Attention in blocks of queries and keys whose hashes are alike, with a sample of all keys for the rest: what
//! `hyper` and `kdeformer` have in common.

use super::run::Run;
use super::sign_hash::SignHash;
use super::softmax::{Listed, Partial, Row};
use std::ops::Range;

/// Keys that stand for those outside of the block of a query.
pub(super) struct Sample {
    pub(super) positions: Vec<u32>,
    /// Added to their logits: how many keys each stands for.
    pub(super) log_weights: Vec<f32>,
    /// Whether a sampled key is left out for queries that have it in their block.
    pub(super) skips_covered: bool,
}

/// What a query has looked at, before it is known what part of the whole that is.
type Looks = Vec<(u32, f32)>;

/// The sums of all queries of one head, and what the ones asked for looked at.
pub(super) struct Sums {
    head: usize,
    partials: Vec<Partial>,
    /// Logarithms of the weights, empty for queries that are not asked for.
    looks: Vec<Looks>,
    row: Row,
}

impl Sums {
    /// No keys yet, for query head `head`.
    pub(super) fn new(run: &Run<'_, '_>, head: usize) -> Self {
        let value_dim = run.group.values.cols();
        Self {
            head,
            partials: vec![Partial::empty(value_dim); run.tokens()],
            looks: vec![Vec::new(); run.tokens()],
            row: Row::new(value_dim),
        }
    }

    /// Adds the keys of `listed` to the sums of the query at `token`.
    pub(super) fn add(&mut self, run: &mut Run<'_, '_>, token: usize, listed: Listed<'_>) {
        if run.skips(token) {
            return;
        }
        let group = run.group;
        let query = group.queries[self.head].row(token);
        self.row
            .attend(query, group.scale, (group.keys, group.values), listed);
        run.count(listed.positions.len());
        if run.wants(token) {
            let largest = self.row.partial.largest;
            let weights = listed.positions.iter().zip(&self.row.weights);
            self.looks[token].extend(weights.map(|(at, weight)| (*at, largest + weight.ln())));
        }
        self.partials[token].merge(&self.row.partial);
    }

    /// Adds `keys` to the sums of every query of `queries`: up to its own, or all where `causal` is false.
    pub(super) fn add_range(
        &mut self,
        run: &mut Run<'_, '_>,
        queries: Range<usize>,
        keys: Range<usize>,
        causal: bool,
    ) {
        let all = run.positions(keys.start, keys.end).to_vec();
        for token in queries {
            let seen = if causal {
                token + 1 - keys.start
            } else {
                all.len()
            };
            self.add(run, token, Listed::plain(&all[..seen]));
        }
    }

    /// Adds, for every query of `queries`, the keys in the block of equal rank and those of `sample`.
    pub(super) fn add_hashed(
        &mut self,
        run: &mut Run<'_, '_>,
        hash: &SignHash,
        (queries, keys): (Range<usize>, Range<usize>),
        block_size: usize,
        sample: Option<&Sample>,
    ) {
        let matrix = run.group.queries[self.head];
        let queries = hash.sorted(matrix, run.positions(queries.start, queries.end));
        let keys = hash.sorted(run.group.keys, run.positions(keys.start, keys.end));
        let blocks = keys.len().div_ceil(block_size).max(1);
        let query_block = queries.len().div_ceil(blocks).max(1);
        for (queries, keys) in queries.chunks(query_block).zip(keys.chunks(block_size)) {
            // Within a block the order is free: by position, so that one block of all keys is exact attention.
            let mut block = keys.to_vec();
            block.sort_unstable();
            let rest = sample.map(|sample| sample.beside(&block));
            for token in queries {
                let token = *token as usize;
                self.add(run, token, Listed::plain(&block));
                if let Some((positions, log_weights)) = &rest {
                    let listed = Listed {
                        log_weights,
                        ..Listed::plain(positions)
                    };
                    self.add(run, token, listed);
                }
            }
        }
    }

    /// Writes the outputs and tells what was looked at.
    pub(super) fn finish(self, run: &mut Run<'_, '_>) {
        for (token, (partial, looks)) in self.partials.iter().zip(&self.looks).enumerate() {
            partial.write(run.output(self.head, token));
            if run.wants(token) {
                let positions: Vec<u32> = looks.iter().map(|(position, _)| *position).collect();
                let shares = looks.iter().map(|(_, logarithm)| {
                    partial.share((logarithm - partial.largest).exp(), partial)
                });
                let shares: Vec<f32> = shares.collect();
                run.tell(self.head, token, &positions, &shares);
            }
        }
    }
}

impl Sample {
    /// The sampled keys and their weights for a query that has `block`, ascending, already.
    fn beside(&self, block: &[u32]) -> (Vec<u32>, Vec<f32>) {
        let pairs = self.positions.iter().zip(&self.log_weights);
        pairs
            .filter(|(position, _)| !self.skips_covered || block.binary_search(position).is_err())
            .map(|(position, weight)| (*position, *weight))
            .unzip()
    }
}
