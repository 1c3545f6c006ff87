//! Queries, keys and values of single heads out of what projections return.

use burn::tensor::Tensor;
use quantizers::graph::QkvLayout;
use quantizers::scratch::Scratch;

/// How many heads there are, and how wide one is.
#[derive(Debug, Clone, Copy)]
pub struct Heads {
    /// Of queries.
    pub query: usize,
    /// Of keys and of values.
    pub key_value: usize,
    /// Width of one.
    pub dim: usize,
}

impl Heads {
    /// Queries, keys and values `[batch, tokens, width]` out of the output of one layer.
    pub fn apart(&self, all: Tensor<3>, layout: QkvLayout) -> [Tensor<3>; 3] {
        match layout {
            QkvLayout::Concatenated => self.concatenated(all),
            QkvLayout::ByKeyValueHead => self.by_key_value_head(all),
        }
    }

    /// `[batch, tokens, heads · dim]` to `[batch, heads, tokens, dim]`.
    pub fn split(&self, x: Tensor<3>, heads: usize) -> Tensor<4> {
        let [batch, tokens, _] = x.dims();
        x.reshape([batch, tokens, heads, self.dim]).swap_dims(1, 2)
    }

    /// Takes `[batch, tokens, (query + 2 key_value) · dim]` apart.
    fn concatenated(&self, all: Tensor<3>) -> [Tensor<3>; 3] {
        let (queries, keys) = (self.query * self.dim, self.key_value * self.dim);
        [
            all.clone().narrow(2, 0, queries),
            all.clone().narrow(2, queries, keys),
            all.narrow(2, queries + keys, keys),
        ]
    }

    /// Takes `[batch, tokens, key_value · (query / key_value + 2) · dim]` apart.
    fn by_key_value_head(&self, all: Tensor<3>) -> [Tensor<3>; 3] {
        let [batch, tokens, _] = all.dims();
        let queries = self.query / self.key_value;
        let all = all.reshape([batch, tokens, self.key_value, queries + 2, self.dim]);
        let part = |from: usize, count: usize| {
            let part = all.clone().narrow(3, from, count);
            part.reshape([batch, tokens, self.key_value * count * self.dim])
        };
        [part(0, queries), part(queries, 1), part(queries + 1, 1)]
    }

    /// The same as [`Self::apart`] of rows in host memory.
    pub fn rows_apart(&self, all: &[f32], layout: QkvLayout) -> [Scratch<f32>; 3] {
        // Consecutive channels of a row that are of queries, of keys and of values, over and over.
        let heads = match layout {
            QkvLayout::Concatenated => [self.query, self.key_value, self.key_value],
            QkvLayout::ByKeyValueHead => [self.query / self.key_value, 1, 1],
        };
        let [queries, keys, values] = heads.map(|heads| heads * self.dim);
        let total: usize = heads.iter().sum();
        let mut apart = heads.map(|heads| Scratch::with_capacity(all.len() / total * heads));
        for run in all.chunks_exact(queries + keys + values) {
            let (query, rest) = run.split_at(queries);
            let (key, value) = rest.split_at(keys);
            for (part, run) in apart.iter_mut().zip([query, key, value]) {
                part.extend_from_slice(run);
            }
        }
        apart
    }
}
