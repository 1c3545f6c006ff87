//! Attention over keys and values as a cache of fewer bits would return them.

use crate::attention_policy::{Attending, AttentionPolicy};
use crate::hidden::values;
use crate::key_value_store::KeyValueStore;
use crate::layers::attention::{attend, attend_from};
use crate::packed_cache::PackedCache;
use crate::policy_error::PolicyError;
use burn::tensor::{Tensor, TensorData};
use quantizers::caches::{CacheCodec, CachePlan, KeyHook, Part};
use quantizers::matrix::MatrixRef;
use std::sync::Arc;

/// Queries that see the same state of the cache, where it is followed as it grows.
const QUERIES: usize = 128;

/// Which tokens a query finds quantized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// All but the first ones that the method keeps, those of the query itself included: the worst case, in which
    /// published figures of calibrated methods are given.
    Strict,
    /// Those that the cache has quantized by the time of the query: the newest are still exact.
    Runtime,
}

/// The cache of one block.
#[derive(Clone)]
pub struct CachePolicy {
    /// What packs and unpacks.
    pub codec: Arc<dyn CacheCodec>,
    /// Which tokens are packed, and where keys are taken.
    pub plan: CachePlan,
    /// Which of them a query finds packed.
    pub protocol: Protocol,
}

impl std::fmt::Debug for CachePolicy {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("CachePolicy")
            .field("plan", &self.plan)
            .field("protocol", &self.protocol)
            .finish_non_exhaustive()
    }
}

impl CachePolicy {
    /// Keys, rotated, and values `[batch, kv_heads, tokens, dim]` as a cache that has quantized every token it does not
    /// keep returns them.
    pub fn restored(&self, input: &Attending) -> [Tensor<4>; 2] {
        let key = match self.plan.hook {
            KeyHook::AfterRotary => self.through(Part::Keys, input.key.clone()),
            KeyHook::BeforeRotary => {
                (input.rotate)(self.through(Part::Keys, input.unrotated.clone()))
            }
        };
        [key, self.through(Part::Values, input.value.clone())]
    }

    /// `x` packed and unpacked, but for the first tokens.
    fn through(&self, part: Part, x: Tensor<4>) -> Tensor<4> {
        let [batch, heads, tokens, dim] = x.dims();
        let device = x.device();
        let width = heads * dim;
        let mut rows = values(x.swap_dims(1, 2).reshape([batch, tokens, width]));
        let first = self.plan.first.min(tokens);
        for sequence in rows.chunks_exact_mut(tokens * width) {
            let later = &mut sequence[first * width..];
            let matrix = MatrixRef::new(later, tokens - first, width)
                .expect("as many rows as tokens are left");
            let encoded = self.codec.encode(part, matrix);
            self.codec.decode(part, &encoded, later);
        }
        let data = TensorData::new(rows, [batch, tokens, heads, dim]);
        Tensor::<4>::from_data(data, &device).swap_dims(1, 2)
    }

    /// Whether new tokens wait before they are quantized.
    fn waits(&self) -> bool {
        let plan = &self.plan;
        plan.recent_keys.max(plan.recent_values) > 0 || plan.chunk.max(plan.value_chunk) > 1
    }

    /// Tokens, from the first on, that the cache has quantized or keeps as first ones when the query at `position`
    /// comes.
    fn settled(&self, position: usize, part: Part) -> usize {
        let (recent, chunk) = match part {
            Part::Keys => (self.plan.recent_keys, self.plan.chunk),
            Part::Values => (self.plan.recent_values, self.plan.value_chunk),
        };
        let first = self.plan.first;
        let old = position.saturating_sub(recent).saturating_sub(first);
        first + old / chunk.max(1) * chunk.max(1)
    }
}

impl AttentionPolicy for CachePolicy {
    fn attend(&self, input: Attending) -> Result<Tensor<4>, PolicyError> {
        let [keys, values] = self.restored(&input);
        if self.protocol == Protocol::Strict || !self.waits() {
            return Ok(attend(input.query, keys, values, &input.scores));
        }
        let [_, _, tokens, _] = input.query.dims();
        let parts = (0..tokens).step_by(QUERIES).map(|start| {
            let end = (start + QUERIES).min(tokens);
            let mixed = |settled: &Tensor<4>, exact: &Tensor<4>, part| {
                let until = self.settled(start, part).min(end);
                let exact = exact.clone().narrow(2, until, end - until);
                if until == 0 {
                    return exact;
                }
                Tensor::cat(vec![settled.clone().narrow(2, 0, until), exact], 2)
            };
            attend_from(
                start,
                input.query.clone().narrow(2, start, end - start),
                mixed(&keys, &input.key, Part::Keys),
                mixed(&values, &input.value, Part::Values),
                &input.scores,
            )
        });
        Ok(Tensor::cat(parts.collect(), 2))
    }

    fn store(&self, _block: usize) -> Result<Option<Box<dyn KeyValueStore>>, PolicyError> {
        Ok(Some(Box::new(PackedCache::new(
            Arc::clone(&self.codec),
            self.plan.clone(),
        ))))
    }
}
