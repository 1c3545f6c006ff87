//! Which configuration to measure next.

use super::boosting::{BoostedTrees, Boosting};
use super::space::Choices;

/// Configurations that have to be measured before other models are judged by them.
const ENOUGH_TO_JUDGE: usize = 4;
/// Correlation of what another model predicts with what is measured, from which on it is believed.
const LEAST_CORRELATION: f64 = 0.5;

/// Configurations of the same space and their losses on another model.
pub type Earlier = Vec<(usize, f64)>;

/// Measures a few configurations far from each other, then always the one of least predicted loss.
///
/// Losses are standardised model by model, so that trees learn from other models which choices are good and not
/// how good the other models are.
#[derive(Debug, Clone)]
pub struct Explorer {
    space: Choices,
    first: usize,
    /// Losses of other models, each standardised, with what trees learned from it alone.
    earlier: Vec<(Earlier, BoostedTrees)>,
    /// Configuration and loss; nothing where it could not be measured.
    measured: Vec<(usize, Option<f64>)>,
    seed: u64,
}

impl Explorer {
    /// A search of `space` that begins at configuration `first`; `seed` decides between equals.
    pub fn new(space: Choices, first: usize, earlier: &[Earlier], seed: u64) -> Self {
        let standardised = |model: &Earlier| {
            let (mean, deviation) = moments(model.iter().map(|(_, loss)| *loss));
            let rows = model.iter();
            let model: Earlier = rows
                .map(|(at, loss)| (*at, (loss - mean) / deviation))
                .collect();
            let (rows, targets): (Vec<Vec<bool>>, Vec<f64>) = model
                .iter()
                .map(|(at, loss)| (space.features(*at), *loss))
                .unzip();
            let trees = Boosting::default().fit(&rows, &targets);
            (model, trees)
        };
        Self {
            earlier: earlier.iter().map(standardised).collect(),
            space,
            first,
            measured: Vec::new(),
            seed,
        }
    }

    /// Takes note of the loss of configuration `at`; nothing where it could not be measured.
    pub fn add(&mut self, at: usize, loss: Option<f64>) {
        self.measured.push((at, loss));
    }

    /// The configuration to measure next; nothing once all are measured, or where there are more than can be
    /// counted.
    pub fn suggest(&self) -> Option<usize> {
        let is_open = |at: usize| self.measured.iter().all(|(measured, _)| *measured != at);
        if self.measured.is_empty() {
            return Some(self.first);
        }
        let open: Vec<usize> = (0..self.space.count()?).filter(|at| is_open(*at)).collect();
        let losses: Vec<f64> = if self.is_spreading() {
            open.iter().map(|at| -self.apart(*at)).collect()
        } else {
            let trees = self.fitted();
            open.iter()
                .map(|at| trees.predict(&self.features(*at, true)))
                .collect()
        };
        let least = losses.iter().copied().fold(f64::INFINITY, f64::min);
        let equals = open.iter().zip(&losses).filter(|(_, loss)| **loss <= least);
        let round = self.measured.len();
        equals
            .map(|(at, _)| *at)
            .min_by_key(|at| drawn(self.seed, round, *at))
    }

    /// Whether too little is known to predict: one more configuration than dimensions where no other model was
    /// searched, so that every dimension has been seen to change.
    fn is_spreading(&self) -> bool {
        self.trusted().is_empty() && self.measured.len() <= self.space.of(0).len()
    }

    /// Losses of the other models that predict those measured here. Another model on which other choices are good
    /// misleads more than no model.
    fn trusted(&self) -> Vec<&Earlier> {
        let measured: Vec<(usize, f64)> = self
            .measured
            .iter()
            .filter_map(|(at, loss)| Some((*at, (*loss)?)))
            .filter(|(_, loss)| loss.is_finite())
            .collect();
        let models = self.earlier.iter().filter(|(_, trees)| {
            let predicted = |at: usize| trees.predict(&self.space.features(at));
            let pairs = measured.iter().map(|(at, loss)| (predicted(*at), *loss));
            measured.len() < ENOUGH_TO_JUDGE || correlation(pairs) >= LEAST_CORRELATION
        });
        models.map(|(model, _)| model).collect()
    }

    /// How far configuration `at` is from all that are measured: dimensions in which it differs from the nearest
    /// one, and in a smaller measure from the others.
    fn apart(&self, at: usize) -> f64 {
        let distances = self.measured.iter();
        let distances: Vec<f64> = distances
            .map(|(other, _)| self.space.distance(at, *other) as f64)
            .collect();
        let nearest = distances.iter().copied().fold(f64::INFINITY, f64::min);
        nearest + 1e-3 * distances.iter().sum::<f64>() / distances.len() as f64
    }

    /// The choices of configuration `at`, and whether it was measured on this model.
    fn features(&self, at: usize, here: bool) -> Vec<bool> {
        let mut features = self.space.features(at);
        features.push(here);
        features
    }

    fn fitted(&self) -> BoostedTrees {
        let found = self.measured.iter().filter_map(|(_, loss)| *loss);
        let worst = found.clone().fold(f64::NEG_INFINITY, f64::max);
        // What cannot be measured is no better than the worst that can.
        let losses: Vec<(usize, f64)> = self
            .measured
            .iter()
            .map(|(at, loss)| (*at, loss.unwrap_or(worst)))
            .filter(|(_, loss)| loss.is_finite())
            .collect();
        let (mean, deviation) = moments(losses.iter().map(|(_, loss)| *loss));
        let trusted = self.trusted();
        let earlier = || trusted.iter().copied().flatten();
        // Where the same configurations stand on other models.
        let same = earlier().filter(|(at, _)| losses.iter().any(|(measured, _)| measured == at));
        let same: Vec<f64> = same.map(|(_, loss)| *loss).collect();
        let (centre, width) = if same.is_empty() {
            (0.0, 1.0)
        } else {
            moments(same.into_iter())
        };
        let mut rows: Vec<Vec<bool>> = Vec::new();
        let mut targets = Vec::new();
        for (at, loss) in earlier() {
            rows.push(self.features(*at, false));
            targets.push(*loss);
        }
        for (at, loss) in &losses {
            rows.push(self.features(*at, true));
            targets.push(centre + width * (loss - mean) / deviation);
        }
        Boosting::default().fit(&rows, &targets)
    }
}

/// The numbers below `count` in an order that `seed` decides.
pub fn shuffled(count: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by_key(|at| drawn(seed, usize::MAX, *at));
    order
}

/// A random number for `at` in a round of a search.
fn drawn(seed: u64, round: usize, at: usize) -> [u8; 32] {
    let words = [seed, round as u64, at as u64].map(u64::to_le_bytes);
    *blake3::hash(words.as_flattened()).as_bytes()
}

/// Pearson's correlation; 0 where a side is constant.
fn correlation(pairs: impl Iterator<Item = (f64, f64)> + Clone) -> f64 {
    let count = pairs.clone().count().max(1) as f64;
    let (left, left_deviation) = moments(pairs.clone().map(|(left, _)| left));
    let (right, right_deviation) = moments(pairs.clone().map(|(_, right)| right));
    let products = pairs.map(|(a, b)| (a - left) * (b - right));
    products.sum::<f64>() / count / (left_deviation * right_deviation)
}

/// Mean and standard deviation; a deviation of 1 where all are equal.
fn moments(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let count = values.clone().count().max(1) as f64;
    let mean = values.clone().sum::<f64>() / count;
    let variance = values.map(|value| (value - mean).powi(2)).sum::<f64>() / count;
    let deviation = variance.sqrt();
    (mean, if deviation > 0.0 { deviation } else { 1.0 })
}
