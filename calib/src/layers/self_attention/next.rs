//! The next token of each of several texts, as rows in host memory: on a few hundred values an operation on tensors takes
//! longer than what it computes.

use super::{Qkv, SelfAttention};
use crate::hidden::values;
use crate::key_value_store::{KeptTokens, NewTokens};
use crate::layers::Linear;
use crate::layers::attention::attend;
use crate::layers::kernels::one_query::attend_group;
use crate::layers::query_key_norm::QueryKeyNorm;
use crate::layers::rope::RopeTables;
use crate::{KeyValueCache, NoTap};
use burn::tensor::{Tensor, TensorData};
use quantizers::scratch::Scratch;
use rayon::prelude::*;

/// Products of keys with queries that are worth another thread.
const TASK_PRODUCTS: usize = 1 << 16;

/// Positions of a text that need no second table of angles.
const SHORT_TEXT: usize = 256;

impl SelfAttention {
    /// The next token of each of several texts, `[texts, width]`, after those in its cache, which it joins.
    pub fn next_of_each(&self, input: &[f32], caches: &mut [&mut KeyValueCache]) -> Scratch<f32> {
        let texts = caches.len();
        let [query, key, value] = self.projected_rows(input, texts);
        let [of_query, of_key, of_value] = [&query, &key, &value].map(|rows| rows.len() / texts);
        let width = of_value / self.heads.key_value * self.heads.query;
        let mut attended = Scratch::unwritten(texts * width);
        let texts = caches
            .par_iter_mut()
            .zip(query.par_chunks_exact(of_query))
            .zip(key.par_chunks_exact(of_key))
            .zip(value.par_chunks_exact(of_value))
            .zip(attended.par_chunks_exact_mut(width));
        texts.for_each(|((((cache, query), key), value), out)| {
            self.attended_next([query, key, value], cache, out);
        });
        self.output.rows(&attended)
    }

    /// What one more token attends to, `[heads · value_dim]`, from its queries, keys and values.
    fn attended_next(
        &self,
        [query, key, value]: [&[f32]; 3],
        cache: &mut KeyValueCache,
        out: &mut [f32],
    ) {
        let position = cache.tokens();
        let tables = self.rope.as_ref().map(|rope| {
            // Tables of a power of two: made anew a few times, not for every token.
            let rows = (position + 1).next_power_of_two().max(SHORT_TEXT);
            rope.longest(rows, position + 1).1
        });
        let tables = tables.as_deref();
        let (query_norm, key_norm) = (self.query_norm.as_ref(), self.key_norm.as_ref());
        let mut query = self.before_rotation_rows(query, query_norm);
        self.rotate_row((tables, position), &mut query, self.heads.query, query_norm);
        let unrotated = self.before_rotation_rows(key, key_norm);
        let mut key = unrotated.clone();
        self.rotate_row((tables, position), &mut key, self.heads.key_value, key_norm);
        let new = NewTokens {
            tokens: 1,
            unrotated: &unrotated,
            key: &key,
            value,
        };
        let width = key.len();
        let rotate = |keys: &mut [f32]| {
            for (position, row) in keys.chunks_exact_mut(width).enumerate() {
                self.rotate_row((tables, position), row, self.heads.key_value, key_norm);
            }
        };
        let kept = cache.with_key_value(new, self.window(), &rotate);
        // What is remembered is what the token sees.
        self.attend_row(&query, &kept, out);
    }

    /// Queries, keys and values `[texts, heads · head_dim]`, not yet normalised or rotated, values clamped.
    fn projected_rows(&self, input: &[f32], texts: usize) -> [Scratch<f32>; 3] {
        let [query, key, mut value] = match &self.qkv {
            Qkv::Latent(latent) => {
                let shape = [texts, 1, input.len() / texts];
                let input = TensorData::new(input.to_vec(), shape);
                let input = Tensor::<3>::from_data(input, &self.device);
                let heads = latent.forward(input, &mut NoTap);
                return heads.map(|heads| values(heads).into());
            }
            Qkv::Separate(layers) => Linear::rows_of_each(layers.each_ref(), input),
            Qkv::Fused(layer, layout) => self.heads.rows_apart(&layer.rows(input), *layout),
        };
        self.clip_rows(&mut value);
        [query, key, value]
    }

    fn clip_rows(&self, rows: &mut [f32]) {
        if let Some(most) = self.clip {
            #[expect(clippy::cast_possible_truncation, reason = "attention is f32")]
            let most = most as f32;
            for x in rows {
                *x = x.clamp(-most, most);
            }
        }
    }

    /// What happens to queries or keys before they are rotated.
    fn before_rotation_rows(&self, x: &[f32], norm: Option<&QueryKeyNorm>) -> Scratch<f32> {
        let mut x = match norm {
            Some(norm) if !self.norm_after_rope => norm.rows(x),
            _ => Scratch::copied(x),
        };
        self.clip_rows(&mut x);
        x
    }

    /// Turns one row of queries or keys to its place, and normalises it where the model does that after.
    fn rotate_row(
        &self,
        (tables, position): (Option<&RopeTables>, usize),
        row: &mut [f32],
        heads: usize,
        norm: Option<&QueryKeyNorm>,
    ) {
        if let Some(tables) = tables {
            tables.rotate_row(position, row, row.len() / heads);
        }
        if let Some(norm) = self.norm_after(norm) {
            row.copy_from_slice(&norm.rows(row));
        }
    }

    /// What a row of queries finds in all of `kept`.
    fn attend_row(&self, query: &[f32], kept: &KeptTokens<'_>, out: &mut [f32]) {
        let (heads, kv_heads) = (self.heads.query, self.heads.key_value);
        let tokens = kept.tokens;
        let scores = self.scores.of_last();
        if !scores.is_plain() {
            let [key, value] = [&kept.keys, &kept.values]
                .map(|rows| self.heads_of(rows.values().into_owned(), [tokens, kv_heads]));
            let attended = attend(
                self.heads_of(query.to_vec(), [1, heads]),
                key,
                value,
                &scores,
            );
            out.copy_from_slice(&values(attended));
            return;
        }
        #[expect(clippy::cast_possible_truncation, reason = "scores are f32")]
        let scale = scores.scale as f32;
        let [of_query, of_out] = [query.len() / heads, out.len() / heads];
        let group = heads / kv_heads;
        // Queries that share a head, and their place: one task unless threads would have none.
        let attend = |at: usize, from: usize, out: &mut [f32]| {
            let count = out.len() / of_out;
            let from = (at * group + from) * of_query;
            let queries = &query[from..from + count * of_query];
            attend_group(queries, count, kept, at, scale, out);
        };
        if tokens * query.len() < TASK_PRODUCTS {
            let groups = out.chunks_exact_mut(group * of_out).enumerate();
            groups.for_each(|(at, out)| attend(at, 0, out));
        } else {
            let tasks = rayon::current_num_threads().div_ceil(kv_heads);
            let together = group.div_ceil(tasks);
            let groups = out.par_chunks_exact_mut(group * of_out).enumerate();
            groups.for_each(|(at, out)| {
                let parts = out.par_chunks_mut(together * of_out).enumerate();
                parts.for_each(|(part, out)| attend(at, part * together, out));
            });
        }
    }
}
