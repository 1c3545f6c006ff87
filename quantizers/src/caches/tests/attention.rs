//! What quantized keys do to attention.

/// Keys, values and queries of one head.
pub(super) struct Head {
    pub(super) dim: usize,
    /// `[tokens, dim]`.
    pub(super) keys: Vec<f32>,
    /// `[tokens, dim]`.
    pub(super) values: Vec<f32>,
    /// `[queries, dim]`, every one of which sees all tokens; logits are not scaled further.
    pub(super) queries: Vec<f32>,
}

impl Head {
    fn weights(&self, query: &[f32], keys: &[f32]) -> Vec<f64> {
        let logit = |key: &[f32]| -> f64 {
            key.iter()
                .zip(query)
                .map(|(k, q)| f64::from(*k) * f64::from(*q))
                .sum()
        };
        let logits: Vec<f64> = keys.chunks(self.dim).map(logit).collect();
        let most = logits.iter().copied().fold(f64::MIN, f64::max);
        let weights: Vec<f64> = logits.iter().map(|logit| (logit - most).exp()).collect();
        let total: f64 = weights.iter().sum();
        weights.into_iter().map(|weight| weight / total).collect()
    }

    fn output(&self, weights: &[f64]) -> Vec<f64> {
        let mut output = vec![0.0; self.dim];
        for (weight, value) in weights.iter().zip(self.values.chunks(self.dim)) {
            for (sum, value) in output.iter_mut().zip(value) {
                *sum += weight * f64::from(*value);
            }
        }
        output
    }

    /// Mean divergence of the attention weights with `keys` from the true ones, and relative error of the outputs.
    pub(super) fn compare(&self, keys: &[f32]) -> (f64, f64) {
        let (mut divergence, mut error, mut signal) = (0.0, 0.0, 0.0);
        for query in self.queries.chunks(self.dim) {
            let (exact, found) = (self.weights(query, &self.keys), self.weights(query, keys));
            divergence += exact
                .iter()
                .zip(&found)
                .map(|(p, q)| p * (p / q).ln())
                .sum::<f64>();
            let (exact, found) = (self.output(&exact), self.output(&found));
            for (exact, found) in exact.iter().zip(&found) {
                error += (exact - found).powi(2);
                signal += exact.powi(2);
            }
        }
        let queries = (self.queries.len() / self.dim) as f64;
        (divergence / queries, (error / signal).sqrt())
    }
}
