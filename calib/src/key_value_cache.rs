//! What a stage keeps of the tokens it has seen, so that it can continue one token at a time.

use crate::Hidden;
use burn::tensor::Tensor;
use std::borrow::Cow;
use std::fmt::Debug;

/// Keys and values of the next tokens of one sequence, one token after the other: `[tokens, kv_heads · dim]` each.
#[derive(Debug, Clone, Copy)]
pub struct NewTokens<'a> {
    /// How many tokens there are.
    pub tokens: usize,
    /// Keys before the rotary embedding, normalised where the model does that first.
    pub unrotated: &'a [f32],
    /// Keys as queries meet them.
    pub key: &'a [f32],
    /// Values.
    pub value: &'a [f32],
}

/// Rotates keys `[tokens, kv_heads · head_dim]` of the first tokens of a text to their positions.
pub type RotateAll<'a> = &'a dyn Fn(&mut [f32]);

/// Keys, rotated, and values of consecutive tokens, `[tokens, kv_heads · dim]` each.
#[derive(Debug, Clone)]
pub struct KeptTokens<'a> {
    /// How many tokens there are.
    pub tokens: usize,
    /// Keys as queries meet them.
    pub keys: Cow<'a, [f32]>,
    /// Values.
    pub values: Cow<'a, [f32]>,
}

/// Where keys and values of one sequence are kept.
pub trait KeyValueStore: Debug + Send {
    /// Adds the next tokens.
    fn append(&mut self, new: NewTokens<'_>);
    /// Those of the last `window` tokens, or of all there are.
    fn last(&mut self, window: usize, rotate: RotateAll<'_>) -> KeptTokens<'_>;
    /// Forgets all but the first `tokens` tokens; `false`, and nothing is forgotten, where that cannot be done.
    #[must_use]
    fn truncate(&mut self, tokens: usize) -> bool;
    /// Bytes in use.
    fn bytes(&self) -> usize;
}

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
    fn default() -> Self {
        Self::of(Box::new(Exact::default()))
    }
}

impl KeyValueCache {
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

/// Tokens for which room is made at a time.
const ROOM: usize = 256;

/// Keys, rotated, and values as they are; those that a window has passed are dropped.
#[derive(Debug, Default)]
struct Exact {
    keys: Rows,
    values: Rows,
    /// Tokens dropped.
    passed: usize,
}

impl KeyValueStore for Exact {
    fn append(&mut self, new: NewTokens<'_>) {
        self.keys.append(new.key, new.tokens);
        self.values.append(new.value, new.tokens);
    }

    fn last(&mut self, window: usize, _rotate: RotateAll<'_>) -> KeptTokens<'_> {
        let dropped = self.keys.tokens().saturating_sub(window);
        self.passed += dropped;
        for rows in [&mut self.keys, &mut self.values] {
            rows.drop_first(dropped);
        }
        KeptTokens {
            tokens: self.keys.tokens(),
            keys: Cow::Borrowed(self.keys.held()),
            values: Cow::Borrowed(self.values.held()),
        }
    }

    fn truncate(&mut self, tokens: usize) -> bool {
        if tokens == 0 {
            *self = Self::default();
            return true;
        }
        if self.passed > 0 {
            return false;
        }
        for rows in [&mut self.keys, &mut self.values] {
            rows.values.truncate(tokens * rows.width);
        }
        true
    }

    fn bytes(&self) -> usize {
        4 * (self.keys.held().len() + self.values.held().len())
    }
}

/// Rows of tokens, `[tokens, width]`.
#[derive(Debug, Default)]
struct Rows {
    values: Vec<f32>,
    width: usize,
    /// Values of tokens that are dropped.
    start: usize,
}

impl Rows {
    fn append(&mut self, rows: &[f32], tokens: usize) {
        self.width = rows.len() / tokens.max(1);
        if self.values.len() + rows.len() > self.values.capacity() {
            self.values.drain(..self.start);
            self.start = 0;
            // Room for a few more tokens, not for twice as many.
            self.values
                .reserve_exact(rows.len().next_multiple_of(ROOM * self.width.max(1)));
        }
        self.values.extend_from_slice(rows);
    }

    fn held(&self) -> &[f32] {
        &self.values[self.start..]
    }

    fn tokens(&self) -> usize {
        self.held().len() / self.width.max(1)
    }

    fn drop_first(&mut self, tokens: usize) {
        self.start += tokens * self.width;
    }
}
