//! What a way of attending changes in one block: keys, values, shares of attention and what is attended to.

use crate::metrics::{mean, quantile};
use burn::tensor::Tensor;
use calib::attention_policy::Attending;
use calib::hidden::values;
use calib::layers::attention::{attended, shares_from};
use quantizers::attentions::measure::Loss;
use serde::Serialize;

/// Last queries of a sequence that are compared: those with most keys to choose from.
pub const QUERIES: usize = 128;
/// Keys with most of a query's attention that a sparse method is asked to have looked at.
pub const TOP_KEYS: usize = 64;
/// Shares below this are none.
const SMALLEST: f32 = 1e-30;

/// Sums over the sequences of one block.
#[derive(Debug, Clone, Default)]
pub struct BlockSums {
    keys: Nmse,
    values: Nmse,
    divergences: Vec<f64>,
    /// By head: sum of divergences and rows.
    by_head: Vec<(f64, u32)>,
    /// One a sequence and head.
    errors: Vec<f64>,
    cosines: Vec<f64>,
    recalls: Vec<f64>,
    masses: Vec<f64>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Nmse {
    error: f64,
    power: f64,
}

impl Nmse {
    fn add(&mut self, exact: &Tensor<4>, found: &Tensor<4>) {
        let (exact, found) = (values(exact.clone()), values(found.clone()));
        for (exact, found) in exact.iter().zip(&found) {
            self.error += f64::from(exact - found).powi(2);
            self.power += f64::from(*exact).powi(2);
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            error: self.error + other.error,
            power: self.power + other.power,
        }
    }

    fn ratio(self) -> f64 {
        self.error / self.power
    }
}

/// What a way of attending changes in one block, over the last queries of every sequence.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BlockCost {
    /// Number of the block.
    pub block: usize,
    /// Squared error of the keys over their squares; none where keys stay what they are.
    pub key_nmse: Option<f64>,
    /// The same of values.
    pub value_nmse: Option<f64>,
    /// KL divergence of the shares of attention: mean over queries and heads, nats.
    pub attention_divergence: Option<f64>,
    /// Its 95th percentile.
    pub attention_divergence_p95: Option<f64>,
    /// The mean of the head where it is largest.
    pub attention_divergence_worst_head: Option<f64>,
    /// Share of the [`TOP_KEYS`] keys with most attention that were looked at; only of methods that do not look at all.
    pub top_keys_found: Option<f64>,
    /// Attention of the keys that were looked at.
    pub attention_mass: Option<f64>,
    /// Length of the error of what is attended to over its length: mean over sequences and heads, of a method that
    /// attends over queries.
    pub output_error: f64,
    /// The largest of them.
    pub output_error_worst: f64,
    /// Mean cosine between what is attended to and what would be.
    pub output_cosine: f64,
}

/// What the last queries of sequences attend to exactly, found once for all methods.
pub struct Reference {
    /// Position of the first of them.
    start: usize,
    /// `[batch, heads, queries, head_dim]`.
    query: Tensor<4>,
    /// Shares of attention, `[batch, heads, queries, keys]`.
    shares: Vec<f32>,
    /// Their logarithms.
    logs: Vec<f32>,
    /// What is attended to, `[batch, heads, queries, value_dim]`.
    output: Vec<f32>,
}

impl Reference {
    /// Of `exact`.
    pub fn new(exact: &Attending) -> Self {
        let [_, _, tokens, _] = exact.query.dims();
        let count = QUERIES.min(tokens);
        let mut reference = Self {
            start: tokens - count,
            query: exact.query.clone().narrow(2, tokens - count, count),
            shares: Vec::new(),
            logs: Vec::new(),
            output: Vec::new(),
        };
        let shares = reference.shares(exact, &exact.key);
        reference.output = values(attended(shares.clone(), exact.value.clone()));
        reference.shares = values(shares);
        let logs = reference.shares.iter();
        reference.logs = logs.map(|share| share.max(SMALLEST).ln()).collect();
        reference
    }

    /// The shares that these queries give to `keys`.
    fn shares(&self, exact: &Attending, keys: &Tensor<4>) -> Tensor<4> {
        shares_from(self.start, self.query.clone(), keys.clone(), &exact.scores)
    }
}

/// KL divergence of the shares `found` from the shares `exact` of logarithms `logs`, nats.
fn divergence(exact: &[f32], logs: &[f32], found: &[f32]) -> f64 {
    let mut sum = 0.0;
    for ((exact, log), found) in exact.iter().zip(logs).zip(found) {
        if *exact > 0.0 {
            sum += f64::from(exact * (log - found.max(SMALLEST).ln()));
        }
    }
    // Rounding alone may leave a value just below zero.
    sum.max(0.0)
}

impl BlockSums {
    /// With those of other sequences.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.keys = self.keys.and(other.keys);
        self.values = self.values.and(other.values);
        self.divergences.extend(other.divergences);
        let heads = self.by_head.len().max(other.by_head.len());
        self.by_head.resize(heads, (0.0, 0));
        for (head, more) in self.by_head.iter_mut().zip(other.by_head) {
            *head = (head.0 + more.0, head.1 + more.1);
        }
        self.errors.extend(other.errors);
        self.cosines.extend(other.cosines);
        self.recalls.extend(other.recalls);
        self.masses.extend(other.masses);
        self
    }

    /// Adds sequences whose keys (rotated) and values have become `keys` and `values`; `reference` is of `exact`.
    pub fn add(
        &mut self,
        (exact, reference): (&Attending, &Reference),
        keys: &Tensor<4>,
        values: &Tensor<4>,
    ) {
        self.keys.add(&exact.key, keys);
        self.values.add(&exact.value, values);
        let found = reference.shares(exact, keys);
        let output = attended(found.clone(), values.clone());
        self.add_rows(reference, found);
        self.add_outputs(&reference.output, output);
    }

    fn add_rows(&mut self, reference: &Reference, found: Tensor<4>) {
        let [_, heads, queries, width] = found.dims();
        self.by_head.resize(heads, (0.0, 0));
        let found = values(found);
        let rows = found.chunks_exact(width.max(1));
        for (at, found) in rows.enumerate() {
            let row = at * width..(at + 1) * width;
            let divergence =
                divergence(&reference.shares[row.clone()], &reference.logs[row], found);
            self.divergences.push(divergence);
            let head = &mut self.by_head[at / queries % heads];
            *head = (head.0 + divergence, head.1 + 1);
        }
    }

    /// Adds a key-value head that a sparse method has attended to.
    pub fn add_loss(&mut self, found: &Loss) {
        self.recalls.push(found.recall);
        self.masses.push(found.mass);
        self.errors.push(found.relative_l2);
        self.cosines.push(found.cosine);
    }

    /// Adds what the last queries attend to, `[batch, heads, queries, value_dim]`, exactly and not.
    fn add_outputs(&mut self, reference: &[f32], found: Tensor<4>) {
        let [_, _, queries, dim] = found.dims();
        let size = (queries * dim).max(1);
        let found = values(found);
        for (exact, found) in reference.chunks_exact(size).zip(found.chunks_exact(size)) {
            let mut sums = [0.0_f64; 4];
            for (a, b) in exact.iter().zip(found) {
                let (a, b) = (f64::from(*a), f64::from(*b));
                sums[0] += (a - b).powi(2);
                sums[1] += a * a;
                sums[2] += b * b;
                sums[3] += a * b;
            }
            let [error, exact, found, both] = sums;
            self.errors.push((error / exact).sqrt());
            self.cosines.push(both / (exact * found).sqrt());
        }
    }

    /// Whether keys and values are what they were.
    pub fn is_exact(&self) -> bool {
        self.keys.error <= 0.0 && self.values.error <= 0.0
    }

    /// The figures of block `block`.
    pub fn finish(mut self, block: usize) -> BlockCost {
        self.divergences.sort_by(f64::total_cmp);
        let any = !self.divergences.is_empty();
        let heads = self.by_head.iter();
        let sparse = !self.recalls.is_empty();
        let worst = heads
            .map(|(sum, rows)| sum / f64::from(*rows))
            .fold(0.0, f64::max);
        BlockCost {
            block,
            key_nmse: any.then(|| self.keys.ratio()),
            value_nmse: any.then(|| self.values.ratio()),
            attention_divergence: any.then(|| mean(&self.divergences)),
            attention_divergence_p95: any.then(|| quantile(&self.divergences, 0.95)),
            attention_divergence_worst_head: any.then_some(worst),
            top_keys_found: sparse.then(|| mean(&self.recalls)),
            attention_mass: sparse.then(|| mean(&self.masses)),
            output_error: mean(&self.errors),
            output_error_worst: self.errors.iter().copied().fold(0.0, f64::max),
            output_cosine: mean(&self.cosines),
        }
    }
}
