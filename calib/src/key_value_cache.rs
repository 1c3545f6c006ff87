//! What a stage keeps of the tokens it has seen, so that it can continue one token at a time.

use crate::Hidden;
use burn::tensor::Tensor;
use std::fmt::Debug;
use std::ops::Range;

/// Keys and values of the next tokens, `[batch, kv_heads, tokens, dim]` each.
#[derive(Debug, Clone)]
pub struct NewTokens {
    /// Keys before the rotary embedding, normalised where the model does that first.
    pub unrotated: Tensor<4>,
    /// Keys as queries meet them.
    pub key: Tensor<4>,
    /// Values.
    pub value: Tensor<4>,
}

/// Rotates keys `[batch, kv_heads, tokens, head_dim]` of the first tokens of a text to their positions.
pub type RotateAll<'a> = &'a dyn Fn(Tensor<4>) -> Tensor<4>;

/// Where keys and values are kept.
pub trait KeyValueStore: Debug + Send {
    /// Adds the next tokens.
    fn append(&mut self, new: NewTokens);
    /// Keys, rotated, and values of the last `window` tokens, or of all there are.
    fn last(&mut self, window: usize, rotate: RotateAll<'_>) -> [Tensor<4>; 2];
    /// Forgets all but the first `tokens` tokens; `false`, and nothing is forgotten, where that cannot be done.
    #[must_use]
    fn truncate(&mut self, tokens: usize) -> bool;
    /// Bytes in use.
    fn bytes(&self) -> usize;
}

/// The tokens of one batch of sequences that one stage has seen.
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
    pub fn add(&mut self, new: NewTokens) {
        self.tokens += new.key.dims()[2];
        self.store.append(new);
    }

    /// Adds the keys and values of the next tokens and returns those of the last `window` tokens.
    pub fn with_key_value(
        &mut self,
        new: NewTokens,
        window: usize,
        rotate: RotateAll<'_>,
    ) -> [Tensor<4>; 2] {
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
    /// `[batch, kv_heads, room, dim]` each, of which the tokens in `held` are there.
    keys_values: Option<[Tensor<4>; 2]>,
    held: Range<usize>,
    /// Tokens dropped.
    passed: usize,
}

impl KeyValueStore for Exact {
    fn append(&mut self, new: NewTokens) {
        let NewTokens { key, value, .. } = new;
        let count = key.dims()[2];
        let Some(all) = self.keys_values.take() else {
            self.held = 0..count;
            self.keys_values = Some([key, value]);
            return;
        };
        let all = if self.held.end + count > all[0].dims()[2] {
            let held = self.held.clone();
            self.held = 0..held.len();
            let room = (held.len() + count).next_multiple_of(ROOM);
            all.map(|all| with_room(all.narrow(2, held.start, held.len()), room))
        } else {
            all
        };
        // Written in place: nobody else has what is kept here.
        let at = self.held.end;
        let written = all.into_iter().zip([key, value]).map(|(all, new)| {
            let [batch, heads, _, dim] = all.dims();
            all.slice_assign([0..batch, 0..heads, at..at + count, 0..dim], new)
        });
        let written: Vec<Tensor<4>> = written.collect();
        self.keys_values = written.try_into().ok();
        self.held.end += count;
    }

    fn last(&mut self, window: usize, _rotate: RotateAll<'_>) -> [Tensor<4>; 2] {
        let dropped = self.held.len().saturating_sub(window);
        self.passed += dropped;
        self.held.start += dropped;
        let all = self.keys_values.as_ref();
        let all = all.expect("tokens were added before");
        let (from, count) = (self.held.start, self.held.len());
        all.each_ref().map(|all| all.clone().narrow(2, from, count))
    }

    fn truncate(&mut self, tokens: usize) -> bool {
        if tokens == 0 {
            *self = Self::default();
            return true;
        }
        if self.passed > 0 {
            return false;
        }
        self.held.end = self.held.end.min(tokens);
        true
    }

    fn bytes(&self) -> usize {
        let tensors = self.keys_values.iter().flatten();
        let of_token = tensors.map(|x| {
            let [batch, heads, _, dim] = x.dims();
            4 * batch * heads * dim
        });
        of_token.sum::<usize>() * self.held.len()
    }
}

/// `held` `[batch, heads, tokens, dim]` with room for `room` tokens.
fn with_room(held: Tensor<4>, room: usize) -> Tensor<4> {
    let [batch, heads, tokens, dim] = held.dims();
    let all = Tensor::zeros([batch, heads, room, dim], &held.device());
    all.slice_assign([0..batch, 0..heads, 0..tokens, 0..dim], held)
}
