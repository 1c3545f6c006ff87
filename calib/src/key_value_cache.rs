//! What a stage keeps of the tokens it has seen, so that it can continue one token at a time.

use crate::Hidden;
use crate::key_value_store::{KeptTokens, KeyValueStore, NewTokens, RotateAll};
use crate::plain_cache::{CacheFloats, PlainCache};
use burn::tensor::Tensor;

/// The tokens of one sequence that one stage has seen.
///
/// A stage keeps one of two things: the keys and values of attention (all that a block needs), or its
/// inputs, from which any stage can start over.
#[derive(Debug)]
pub struct KeyValueCache {
    inputs: Option<Hidden>,
    store: Box<dyn KeyValueStore>,
    tokens: usize,
}

impl Default for KeyValueCache {
    /// An empty one that keeps keys and values as they are.
    fn default() -> Self {
        Self::of_floats(CacheFloats::F32)
    }
}

impl KeyValueCache {
    /// An empty one that keeps them as `floats`.
    pub fn of_floats(floats: CacheFloats) -> Self {
        Self::of(Box::new(PlainCache::new(floats)))
    }

    /// An empty one whose keys and values are kept in `store`, which is empty.
    pub fn of(store: Box<dyn KeyValueStore>) -> Self {
        Self {
            inputs: None,
            store,
            tokens: 0,
        }
    }

    /// Tokens seen so far.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Bytes of keys and values.
    pub fn bytes(&self) -> usize {
        self.store.bytes()
    }

    /// Adds the inputs of the next tokens and returns those of all tokens.
    pub fn with_input(&mut self, next: Hidden) -> Hidden {
        self.tokens += match &next {
            Hidden::Tokens(ids) => ids.dims()[1],
            Hidden::States(states) => states.dims()[1],
            Hidden::Pixels(_) | Hidden::Embedding(_) => 1,
        };
        let all = match (self.inputs.take(), next) {
            (Some(Hidden::Tokens(past)), Hidden::Tokens(next)) => {
                Hidden::Tokens(Tensor::cat(vec![past, next], 1))
            }
            (Some(Hidden::States(past)), Hidden::States(next)) => {
                Hidden::States(Tensor::cat(vec![past, next], 1))
            }
            (_, next) => next,
        };
        self.inputs = Some(all.clone());
        all
    }

    /// Counts tokens of which nothing is kept.
    pub fn pass(&mut self, tokens: usize) {
        self.tokens += tokens;
    }

    /// Adds the keys and values of the next tokens.
    pub fn add(&mut self, new: NewTokens<'_>) {
        self.tokens += new.tokens;
        self.store.append(new);
    }

    /// Adds the keys and values of the next tokens and returns those of the last `window` tokens.
    pub fn with_key_value(
        &mut self,
        new: NewTokens<'_>,
        window: usize,
        rotate: RotateAll<'_>,
    ) -> KeptTokens<'_> {
        self.add(new);
        self.store.last(window, rotate)
    }

    /// Forgets all but the first `tokens` tokens. `false`, and nothing is forgotten, where older ones have been dropped
    /// that a shorter text would need.
    #[must_use]
    pub fn truncate(&mut self, tokens: usize) -> bool {
        if tokens >= self.tokens {
            return true;
        }
        if !self.store.truncate(tokens) {
            return false;
        }
        self.inputs = self
            .inputs
            .take()
            .filter(|_| tokens > 0)
            .map(|inputs| match inputs {
                Hidden::Tokens(ids) => Hidden::Tokens(ids.narrow(1, 0, tokens)),
                Hidden::States(states) => Hidden::States(states.narrow(1, 0, tokens)),
                other => other,
            });
        self.tokens = tokens;
        true
    }
}
