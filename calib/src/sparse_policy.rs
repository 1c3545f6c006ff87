//! Attention to fewer keys, by a method that sees one key-value head at a time.

use crate::attention_policy::{Attending, AttentionPolicy};
use crate::hidden::values;
use crate::key_value_store::KeyValueStore;
use crate::layers::Rope;
use crate::policy_error::PolicyError;
use burn::tensor::{Tensor, TensorData};
use quantizers::attentions::measure::{Loss, loss};
use quantizers::attentions::{AttentionError, HeadGroup, Rotary, SparseAttention};
use quantizers::matrix::MatrixRef;
use rayon::prelude::*;
use std::sync::{Arc, Mutex, PoisonError};

/// Work of one block.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Work {
    /// Products of a query and a key, or of what stands for several of them.
    pub evaluations: u64,
    /// Those of exact attention.
    pub exact: u64,
    /// Most keys held at once for one key-value head.
    pub kept_keys: usize,
}

impl Work {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            evaluations: self.evaluations + other.evaluations,
            exact: self.exact + other.exact,
            kept_keys: self.kept_keys.max(other.kept_keys),
        }
    }
}

/// A sparse method in one block.
pub struct SparsePolicy {
    method: Arc<dyn SparseAttention>,
    layers: usize,
    rope: Option<Arc<Rope>>,
    work: Mutex<Work>,
}

impl std::fmt::Debug for SparsePolicy {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("SparsePolicy")
            .field("layers", &self.layers)
            .finish_non_exhaustive()
    }
}

impl SparsePolicy {
    /// `method` in a model of `layers` blocks, whose queries and keys went through `rope`.
    pub fn new(method: Arc<dyn SparseAttention>, layers: usize, rope: Option<Arc<Rope>>) -> Self {
        Self {
            method,
            layers,
            rope,
            work: Mutex::default(),
        }
    }

    /// What has been done since the last call.
    pub fn take_work(&self) -> Work {
        std::mem::take(&mut *self.work.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The last `queries` queries of every key-value head of every sequence against exact attention; `top` keys are
    /// asked for in the recall.
    ///
    /// # Errors
    /// Whatever the method refuses.
    pub fn losses(
        &self,
        input: &Attending,
        queries: usize,
        top: usize,
    ) -> Result<Vec<Loss>, AttentionError> {
        self.by_group(input, |group| {
            loss(group, self.method.as_ref(), queries, top)
        })
    }

    /// What `body` returns for every key-value head of every sequence, in order.
    fn by_group<R: Send>(
        &self,
        input: &Attending,
        body: impl Fn(&HeadGroup<'_>) -> Result<R, AttentionError> + Sync,
    ) -> Result<Vec<R>, AttentionError> {
        let [batch, heads, tokens, head_dim] = input.query.dims();
        let [_, kv_heads, _, value_dim] = input.value.dims();
        let query_heads = heads / kv_heads;
        let query = values(input.query.clone());
        let key = values(input.key.clone());
        let value = values(input.value.clone());
        let (of_key, of_value) = (tokens * head_dim, tokens * value_dim);
        let rotary = self.rope.as_ref().map(|rope| rope.of_rows(tokens));
        let view = |rows, cols| MatrixRef::new(rows, tokens, cols).expect("cut to its shape");
        (0..batch * kv_heads)
            .into_par_iter()
            .map(|at| {
                let first = at * query_heads * of_key;
                let queries: Vec<MatrixRef<'_>> = query[first..first + query_heads * of_key]
                    .chunks_exact(of_key)
                    .map(|rows| view(rows, head_dim))
                    .collect();
                #[expect(clippy::cast_possible_truncation, reason = "attention is f32")]
                let scale = input.scores.scale as f32;
                body(&HeadGroup {
                    queries: &queries,
                    keys: view(&key[at * of_key..(at + 1) * of_key], head_dim),
                    values: view(&value[at * of_value..(at + 1) * of_value], value_dim),
                    scale,
                    causal: input.scores.pattern.is_causal(),
                    layer: input.block,
                    layers: self.layers,
                    head: at % kv_heads,
                    rotary: rotary.as_ref().map(|rotary| rotary as &dyn Rotary),
                })
            })
            .collect()
    }
}

impl AttentionPolicy for SparsePolicy {
    fn attend(&self, input: Attending) -> Result<Tensor<4>, PolicyError> {
        let [batch, heads, tokens, _] = input.query.dims();
        let [_, _, _, value_dim] = input.value.dims();
        let groups = self.by_group(&input, |group| {
            let attended = self.method.attend(group, None)?;
            Ok((attended, group.exact_evaluations()))
        });
        let groups = groups.map_err(|source| PolicyError {
            block: input.block,
            source: source.into(),
        })?;
        let mut rows = Vec::with_capacity(batch * heads * tokens * value_dim);
        let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        for (attended, exact) in groups {
            *work = work.and(Work {
                evaluations: attended.score_evaluations,
                exact,
                kept_keys: attended.kept_keys_max,
            });
            for output in &attended.outputs {
                rows.extend_from_slice(output.view().data());
            }
        }
        let data = TensorData::new(rows, [batch, heads, tokens, value_dim]);
        Ok(Tensor::from_data(data, &input.query.device()))
    }

    fn store(&self, block: usize) -> Result<Option<Box<dyn KeyValueStore>>, PolicyError> {
        Err(PolicyError {
            block,
            source:
                "this attention is defined over whole texts: a text cannot be continued with it"
                    .into(),
        })
    }
}
