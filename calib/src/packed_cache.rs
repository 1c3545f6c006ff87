//! Keys and values kept in fewer bits while text is generated.

use crate::key_value_store::{KeptRows, KeptTokens, KeyValueStore, NewTokens, RotateAll};
use half::f16;
use quantizers::caches::{CacheCodec, CachePlan, Encoded, KeyHook, Part};
use quantizers::matrix::MatrixRef;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::Arc;

/// The cache of one block of one sequence: first tokens as 16-bit floats, then packed chunks, then the newest tokens as
/// 16-bit floats until they fill a chunk and are old enough.
#[derive(Debug)]
pub struct PackedCache {
    packing: Packing,
    keys: Rows,
    values: Rows,
}

/// How tokens are packed.
struct Packing {
    codec: Arc<dyn CacheCodec>,
    plan: CachePlan,
}

impl Debug for Packing {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.plan.fmt(out)
    }
}

/// Keys or values.
#[derive(Debug)]
struct Rows {
    part: Part,
    /// Known with the first token.
    width: usize,
    first: Vec<f16>,
    packed: Vec<Encoded>,
    recent: VecDeque<f16>,
}

impl Rows {
    fn new(part: Part) -> Self {
        Self {
            part,
            width: 0,
            first: Vec::new(),
            packed: Vec::new(),
            recent: VecDeque::new(),
        }
    }

    /// Adds rows of tokens and packs what is old enough.
    fn append(&mut self, rows: &[f32], packing: &Packing) {
        let plan = &packing.plan;
        let (recent, chunk) = match self.part {
            Part::Keys => (plan.recent_keys, plan.chunk.max(1)),
            Part::Values => (plan.recent_values, plan.value_chunk.max(1)),
        };
        let mut rows = rows;
        let missing = (plan.first * self.width).saturating_sub(self.first.len());
        let (first, later) = rows.split_at(missing.min(rows.len()));
        self.first.extend(first.iter().copied().map(f16::from_f32));
        rows = later;
        if recent == 0 && chunk == 1 && !rows.is_empty() {
            // Nothing waits.
            self.pack(rows, packing);
            return;
        }
        self.recent.extend(rows.iter().copied().map(f16::from_f32));
        let old = (self.recent.len() / self.width).saturating_sub(recent);
        let settled = old / chunk * chunk * self.width;
        if settled > 0 {
            let rows: Vec<f32> = self.recent.drain(..settled).map(f16::to_f32).collect();
            self.pack(&rows, packing);
        }
    }

    fn pack(&mut self, rows: &[f32], packing: &Packing) {
        let tokens = rows.len() / self.width;
        let matrix = MatrixRef::new(rows, tokens, self.width).expect("whole rows");
        self.packed.push(packing.codec.encode(self.part, matrix));
    }

    fn tokens(&self) -> usize {
        let exact = (self.first.len() + self.recent.len()) / self.width.max(1);
        exact + self.packed.iter().map(|one| one.tokens).sum::<usize>()
    }

    /// All rows.
    fn unpacked(&self, packing: &Packing) -> Vec<f32> {
        let mut rows = Vec::with_capacity(self.tokens() * self.width);
        rows.extend(self.first.iter().copied().map(f16::to_f32));
        for one in &self.packed {
            let start = rows.len();
            rows.resize(start + one.tokens * self.width, 0.0);
            packing.codec.decode(self.part, one, &mut rows[start..]);
        }
        rows.extend(self.recent.iter().copied().map(f16::to_f32));
        rows
    }

    /// Whether all but the first `tokens` can be dropped without taking a packed piece apart.
    fn can_end_at(&self, tokens: usize) -> bool {
        let mut end = self.first.len() / self.width.max(1);
        if tokens <= end {
            return true;
        }
        for one in &self.packed {
            end += one.tokens;
            if tokens < end {
                return false;
            }
            if tokens == end {
                return true;
            }
        }
        true
    }

    fn truncate(&mut self, tokens: usize) {
        self.first.truncate(tokens * self.width);
        let mut left = tokens - self.first.len() / self.width.max(1);
        self.packed.retain(|one| {
            let kept = one.tokens <= left;
            left -= if kept { one.tokens } else { 0 };
            kept
        });
        self.recent.truncate(left * self.width);
    }

    fn bytes(&self) -> usize {
        let packed: usize = self.packed.iter().map(|one| one.bytes.len()).sum();
        packed + 2 * (self.first.len() + self.recent.len())
    }
}

impl PackedCache {
    /// An empty one that packs tokens with `codec` as `plan` says.
    pub fn new(codec: Arc<dyn CacheCodec>, plan: CachePlan) -> Self {
        Self {
            packing: Packing { codec, plan },
            keys: Rows::new(Part::Keys),
            values: Rows::new(Part::Values),
        }
    }
}

impl KeyValueStore for PackedCache {
    fn append(&mut self, new: NewTokens<'_>) {
        let keys = match self.packing.plan.hook {
            KeyHook::BeforeRotary => new.unrotated,
            KeyHook::AfterRotary => new.key,
        };
        self.keys.width = keys.len() / new.tokens.max(1);
        self.values.width = new.value.len() / new.tokens.max(1);
        self.keys.append(keys, &self.packing);
        self.values.append(new.value, &self.packing);
    }

    fn last(&mut self, window: usize, rotate: RotateAll<'_>) -> KeptTokens<'_> {
        let tokens = self.keys.tokens();
        let passed = tokens.saturating_sub(window);
        let mut keys = self.keys.unpacked(&self.packing);
        if self.packing.plan.hook == KeyHook::BeforeRotary {
            rotate(&mut keys);
        }
        let mut values = self.values.unpacked(&self.packing);
        keys.drain(..passed * self.keys.width);
        values.drain(..passed * self.values.width);
        KeptTokens {
            tokens: tokens - passed,
            keys: KeptRows::Single(Cow::Owned(keys)),
            values: KeptRows::Single(Cow::Owned(values)),
        }
    }

    fn truncate(&mut self, tokens: usize) -> bool {
        if !self.keys.can_end_at(tokens) || !self.values.can_end_at(tokens) {
            return false;
        }
        self.keys.truncate(tokens);
        self.values.truncate(tokens);
        true
    }

    fn bytes(&self) -> usize {
        self.keys.bytes() + self.values.bytes()
    }
}
