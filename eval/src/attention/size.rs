//! Bytes that a cache of keys and values takes.

use quantizers::caches::{CachePlan, CacheShape};
use serde::Serialize;

/// Bits of a value that is not quantized.
const PLAIN: f64 = 16.0;

/// The cache of one block, and what is done with it, if anything.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedCache {
    /// What it holds.
    pub shape: CacheShape,
    /// How it holds it; nothing where it stays 16-bit floats.
    pub plan: Option<CachePlan>,
}

/// Bytes that a cache takes: for each token, and once for tokens that stay 16-bit floats.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CacheSize {
    /// Bits of one value of a key, averaged over blocks.
    pub key_bits: f64,
    /// Bits of one value of a value.
    pub value_bits: f64,
    /// Bytes of one more token over all blocks.
    pub bytes_per_token: f64,
    /// Bytes of one more token as 16-bit floats.
    pub plain_bytes_per_token: f64,
    /// Bytes beyond that for the first and the newest tokens, which stay 16-bit floats.
    pub bytes_once: f64,
}

impl CacheSize {
    /// Of `blocks`.
    pub fn of(blocks: &[PlannedCache]) -> Self {
        let (mut keys, mut values, mut once) = (0.0, 0.0, 0.0);
        let (mut key_count, mut value_count) = (0.0, 0.0);
        for PlannedCache { shape, plan } in blocks {
            let of_keys = (shape.kv_heads * shape.key_dim) as f64;
            let of_values = (shape.kv_heads * shape.value_dim) as f64;
            key_count += of_keys;
            value_count += of_values;
            let Some(plan) = plan else {
                keys += PLAIN * of_keys;
                values += PLAIN * of_values;
                continue;
            };
            keys += plan.key_bits * of_keys;
            values += plan.value_bits * of_values;
            let kept = |recent: usize, bits: f64, count: f64| {
                (recent + plan.first) as f64 * (PLAIN - bits).max(0.0) * count
            };
            once += kept(plan.recent_keys, plan.key_bits, of_keys);
            once += kept(plan.recent_values, plan.value_bits, of_values);
        }
        Self {
            key_bits: keys / key_count,
            value_bits: values / value_count,
            bytes_per_token: (keys + values) / 8.0,
            plain_bytes_per_token: PLAIN * (key_count + value_count) / 8.0,
            bytes_once: once / 8.0,
        }
    }

    /// Bytes of a text of `tokens`.
    pub fn bytes(&self, tokens: u64) -> f64 {
        let tokens = tokens as f64;
        let plain = self.plain_bytes_per_token * tokens;
        let packed = self.bytes_per_token * tokens + self.bytes_once;
        // A short text is all newest tokens.
        if self.bytes_once > 0.0 {
            packed.min(plain)
        } else {
            packed
        }
    }

    /// The longest text whose cache takes no more than `bytes`.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a count of tokens"
    )]
    pub fn longest(&self, bytes: u64) -> u64 {
        ((bytes as f64 - self.bytes_once).max(0.0) / self.bytes_per_token) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(plan: Option<CachePlan>) -> PlannedCache {
        let shape = CacheShape {
            layer: 0,
            layers: 32,
            kv_heads: 8,
            key_dim: 128,
            value_dim: 128,
        };
        PlannedCache { shape, plan }
    }

    // Llama-3.1-8B, published: 131072 bytes a token as 16-bit floats, 24576 in KIVI's 2 bits with groups of 32, whose
    // 128 newest tokens cost 13 bits a value more.
    #[test]
    fn bytes_of_a_large_model() {
        let plain = CacheSize::of(&vec![block(None); 32]);
        assert!((plain.bytes_per_token - 131_072.0).abs() < 1e-9);
        let plan = CachePlan {
            recent_keys: 128,
            recent_values: 128,
            ..CachePlan::new(3.0, 3.0)
        };
        let packed = CacheSize::of(&vec![block(Some(plan)); 32]);
        assert!((packed.bytes_per_token - 24_576.0).abs() < 1e-9);
        let once = 128.0 * 13.0 / 8.0 * 65_536.0;
        assert!((packed.bytes_once - once).abs() < 1e-6);
        assert!(
            (packed.bytes(64) - 64.0 * 131_072.0).abs() < 1e-6,
            "all of them are new"
        );
        assert_eq!(packed.longest(24_576 * 1000 + 13_631_488), 1000);
    }
}
