//! Distances between query and key in ranges, and the learned bias for each range (`MPNet`, after T5).

use super::Loader;
use crate::SourceError;
use burn::tensor::{Device, Int, Tensor, TensorData};
use quantizers::graph::DistanceBias;

/// A learned number for each range of distances and each head.
#[derive(Debug, Clone)]
pub struct Bias {
    /// `[buckets, heads]`.
    table: Tensor<2>,
    buckets: usize,
    farthest: usize,
}

impl Bias {
    /// Reads the table of `node`.
    ///
    /// # Errors
    /// A missing tensor or one of another shape.
    pub fn load(node: &DistanceBias, loader: &Loader<'_>) -> Result<Self, SourceError> {
        Ok(Self {
            table: loader.read(&node.table)?,
            buckets: node.buckets,
            farthest: node.farthest,
        })
    }

    /// `[1, heads, tokens, tokens]`, added to scores.
    pub fn scores(&self, tokens: usize) -> Tensor<4> {
        let range = |query: usize, key: usize| self.range(key.cast_signed() - query.cast_signed());
        let ranges = square(tokens, range, &self.table.device());
        let heads = self.table.dims()[1];
        let rows = self.table.clone().select(0, ranges.flatten(0, 1));
        rows.reshape([1, tokens, tokens, heads])
            .permute([0, 3, 1, 2])
    }

    /// The range of the distance from a query to a key `distance` positions behind it.
    #[expect(clippy::cast_possible_wrap, reason = "at most the number of ranges")]
    fn range(&self, distance: isize) -> i64 {
        let half = self.buckets / 2;
        let exact = half / 2;
        let behind = if distance > 0 { half } else { 0 };
        let steps = distance.unsigned_abs();
        let within = if steps < exact {
            steps
        } else {
            let share = (steps as f32 / exact as f32).ln() / ratio(self.farthest, exact).ln();
            (exact + whole(share * (half - exact) as f32)).min(half - 1)
        };
        (behind + within) as i64
    }
}

/// The range of a distance where those above half of `buckets` share one on a logarithmic scale that ends at
/// `farthest`; the distance itself without them (`DeBERTa`).
pub(super) fn bucket(distance: isize, buckets: Option<usize>, farthest: usize) -> isize {
    let Some(buckets) = buckets else {
        return distance;
    };
    let middle = buckets / 2;
    let steps = distance.unsigned_abs();
    if steps <= middle {
        return distance;
    }
    let end = farthest.saturating_sub(1);
    let share = (steps as f32 / middle as f32).ln() / ratio(end, middle).ln();
    let further = whole((share * middle.saturating_sub(1) as f32).ceil());
    (middle + further).cast_signed() * distance.signum()
}

/// Divided in f64 and rounded, as a setting is in the reference.
#[expect(clippy::cast_possible_truncation, reason = "the logarithms are f32")]
fn ratio(a: usize, b: usize) -> f32 {
    (a as f64 / b as f64) as f32
}

/// Without the fraction.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a number of steps; saturates"
)]
fn whole(steps: f32) -> usize {
    steps as usize
}

/// `[tokens, tokens]`: `of(query, key)`.
pub(super) fn square(
    tokens: usize,
    of: impl Fn(usize, usize) -> i64,
    device: &Device,
) -> Tensor<2, Int> {
    let pairs = (0..tokens).flat_map(|query| (0..tokens).map(move |key| (query, key)));
    let values: Vec<i64> = pairs.map(|(query, key)| of(query, key)).collect();
    Tensor::from_data(TensorData::new(values, [tokens, tokens]), device)
}
