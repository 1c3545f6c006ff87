//! Made sequences.

use super::super::random::Random;
use super::super::{Attended, HeadGroup, Rotary, SparseAttention, find};
use crate::MatrixRef;

/// Queries, keys and values of one group.
#[derive(Clone)]
pub(super) struct Made {
    pub(super) tokens: usize,
    pub(super) head_dim: usize,
    pub(super) value_dim: usize,
    pub(super) queries: Vec<Vec<f32>>,
    pub(super) keys: Vec<f32>,
    pub(super) values: Vec<f32>,
    pub(super) causal: bool,
}

/// `count` normal numbers.
fn normal(count: usize, random: &mut Random) -> Vec<f32> {
    (0..count).map(|_| random.normal()).collect()
}

/// A walk of `tokens` rows that stays normal: neighbours correlate by `memory`.
fn walk(tokens: usize, dim: usize, memory: f32, random: &mut Random) -> Vec<f32> {
    let fresh = (1.0 - memory * memory).sqrt();
    let mut rows = normal(dim, random);
    for at in dim..tokens * dim {
        let value = memory * rows[at - dim] + fresh * random.normal();
        rows.push(value);
    }
    rows
}

impl Made {
    /// No structure: everything is normal.
    pub(super) fn noise(tokens: usize, heads: usize, dims: (usize, usize), seed: u64) -> Self {
        let mut random = Random::new(seed, "made noise", 0, 0);
        let (head_dim, value_dim) = dims;
        Self {
            tokens,
            head_dim,
            value_dim,
            queries: (0..heads)
                .map(|_| normal(tokens * head_dim, &mut random))
                .collect(),
            keys: normal(tokens * head_dim, &mut random),
            values: normal(tokens * value_dim, &mut random),
            causal: true,
        }
    }

    /// Attention that follows the law of Zipf: all queries point the same way, up to noise, and the logits of the keys are
    /// `-exponent ln rank` for ranks in random order.
    pub(super) fn zipf(tokens: usize, exponent: f32, seed: u64) -> Self {
        let dim = 32;
        let mut random = Random::new(seed, "made zipf", 0, 0);
        let mut ranks: Vec<usize> = (1..=tokens).collect();
        for at in (1..tokens).rev() {
            ranks.swap(at, random.below(at + 1));
        }
        let mut made = Self::noise(tokens, 1, (dim, dim), seed);
        // Channel 0 carries the rank, the others noise of logits: sqrt(31 / 32) * 0.3 * 0.5.
        let length = (dim as f32).sqrt();
        for (token, rank) in ranks.into_iter().enumerate() {
            let key = &mut made.keys[token * dim..][..dim];
            for value in &mut *key {
                *value *= 0.5;
            }
            key[0] = -exponent * (rank as f32).ln();
            let query = &mut made.queries[0][token * dim..][..dim];
            for value in &mut *query {
                *value *= 0.3;
            }
            query[0] = length;
        }
        // Values with a mean, so that outputs do not vanish.
        for value in &mut made.values {
            *value += 0.5;
        }
        made
    }

    /// Text that moves from topic to topic: keys and queries are slow walks, and queries look back at what was said
    /// `back` tokens before.
    pub(super) fn topics(tokens: usize, memory: f32, back: usize, seed: u64) -> Self {
        let dim = 32;
        let mut random = Random::new(seed, "made topics", 0, 0);
        let mut made = Self::noise(tokens, 1, (dim, dim), seed);
        made.keys = walk(tokens, dim, memory, &mut random);
        for token in 0..tokens {
            let from = token.saturating_sub(back) * dim;
            for channel in 0..dim {
                let said = made.keys[from + channel];
                let query = &mut made.queries[0][token * dim + channel];
                *query = 1.5 * said + 0.3 * *query;
            }
        }
        made
    }

    /// Runs `then` on the group.
    pub(super) fn with<T>(&self, then: impl FnOnce(&HeadGroup<'_>) -> T) -> T {
        let matrix = |data, dim| MatrixRef::new(data, self.tokens, dim).unwrap();
        let queries: Vec<MatrixRef<'_>> = self
            .queries
            .iter()
            .map(|data| matrix(data, self.head_dim))
            .collect();
        then(&HeadGroup {
            queries: &queries,
            keys: matrix(&self.keys, self.head_dim),
            values: matrix(&self.values, self.value_dim),
            scale: 1.0 / (self.head_dim as f32).sqrt(),
            causal: self.causal,
            layer: 5,
            layers: 8,
            head: 1,
            rotary: Some(&Pairs),
        })
    }

    /// What the method `name` configured by `rule` does.
    pub(super) fn attend(&self, name: &str, rule: &str) -> Attended {
        self.with(|group| method(name, rule).attend(group, None).unwrap())
    }
}

/// A method by name and recipe table.
pub(super) fn method(name: &str, rule: &str) -> Box<dyn SparseAttention> {
    let configured = find(name).unwrap().configure(&rule.parse().unwrap());
    configured.unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A rotary embedding of neighbouring channels, as in the paper; an odd last channel is not rotated.
pub(super) struct Pairs;

impl Pairs {
    fn turn(position: usize, row: &mut [f32], sign: f32) {
        let dim = row.len() as f32;
        for (at, pair) in row.as_chunks_mut::<2>().0.iter_mut().enumerate() {
            let angle = position as f32 * 100.0_f32.powf(-2.0 * at as f32 / dim);
            let (sin, cos) = (sign * angle).sin_cos();
            *pair = [pair[0] * cos - pair[1] * sin, pair[0] * sin + pair[1] * cos];
        }
    }
}

impl Rotary for Pairs {
    fn rotate(&self, position: usize, row: &mut [f32]) {
        Self::turn(position, row, 1.0);
    }

    fn unrotate(&self, position: usize, row: &mut [f32]) {
        Self::turn(position, row, -1.0);
    }
}

/// Tables that make each method drop keys of a sequence of 96 tokens, and cross its block bounds. Those of encoders are
/// apart.
pub(super) const SPARSE: &[(&str, &str)] = &[
    ("exact", ""),
    ("sink-window", "sink = 3\nwindow = 7"),
    ("uniform", "sink = 3\nwindow = 5\nbatch = 8\nkeep = 0.25"),
    (
        "uniform",
        "sink = 3\nwindow = 5\nprotocol = \"prompt\"\ngenerated = 20\nkeep = 0.25",
    ),
    (
        "balance-kv",
        "sink = 3\nwindow = 5\nbatch = 16\nblock_size = 8",
    ),
    (
        "balance-kv",
        "sink = 3\nwindow = 5\nprotocol = \"prompt\"\ngenerated = 20\nblock_size = 8",
    ),
    ("subgen", "slots = 16\nsamples = 2"),
    ("subgen", "slots = 16\nsamples = 2\nwindow = 9"),
    (
        "subgen",
        "variant = \"centres\"\nsink = 3\nwindow = 5\nbatch = 16",
    ),
    ("hyper", "block_size = 8\nsample_size = 4\nmin_seq_len = 8"),
    (
        "hyper",
        "block_size = 8\nsample_size = 4\nmin_seq_len = 8\nsampling = \"uniform\"",
    ),
    (
        "hyper",
        "block_size = 8\nsample_size = 4\nmin_seq_len = 8\nvariant = \"shipped\"",
    ),
    (
        "hip",
        "k = 8\nblock_size_q = 8\nblock_size_k = 2\ndense_layers = 0",
    ),
    (
        "hip",
        "k = 9\nblock_size_q = 7\nblock_size_k = 3\ndense_layers = 0\nrepresentative = \"first\"",
    ),
    (
        "infinite-hip",
        "k = 8\nthird_k = 8\nsecond_k = 16\nblock_size_q = 8\nsink = 2\nwindow = 4\ndense_below = 5\ndense_layers = 0",
    ),
    (
        "infinite-hip",
        "k = 8\nthird_k = 8\nsecond_k = 16\nblock_size_q = 8\nsink = 2\nwindow = 4\ndense_below = 0\ndense_layers = 0\npositions = \"consecutive\"",
    ),
    ("delta", "gamma = 5\ntail = 0\nsink = 3\nwindow = 7"),
    (
        "delta",
        "gamma = 5\nsink = 3\nwindow = 7\nmode = \"recompute\"\ntail = 9",
    ),
    (
        "delta",
        "gamma = 5\ntail = 0\nbase = \"hip\"\nk = 8\nblock_size_q = 8",
    ),
    ("cascade", "sink = 3\nwindow = 12\ncascades = 3\nstride = 4"),
    (
        "cascade",
        "sink = 3\nwindow = 12\ncascades = 3\nstride = 1\npositions = \"original\"",
    ),
];

/// The same without a causal mask.
pub(super) const SPARSE_ENCODERS: &[(&str, &str)] = &[
    ("exact", ""),
    ("sink-window", "sink = 3\nwindow = 7"),
    ("hyper", "block_size = 8\nsample_size = 4\nmin_seq_len = 8"),
    ("kdeformer", "block_size = 8\nsample_size = 12"),
];
