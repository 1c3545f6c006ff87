//! What a stage keeps of the tokens it has seen, so that it can continue one token at a time.

use crate::Hidden;
use burn::tensor::Tensor;

/// The tokens of one batch of sequences that one stage has seen.
///
/// A stage keeps one of two things: the keys and values of attention (all that a block needs), or its
/// inputs, from which any stage can start over.
#[derive(Debug, Default)]
pub struct KeyValueCache {
    inputs: Option<Hidden>,
    keys_values: Option<[Tensor<4>; 2]>,
    tokens: usize,
}

impl KeyValueCache {
    /// Tokens seen so far.
    pub fn tokens(&self) -> usize {
        self.tokens
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

    /// Adds the keys and values `[batch, kv_heads, tokens, head_dim]` of the next tokens and returns those of
    /// the last `window` tokens; older ones are dropped.
    pub fn with_key_value(
        &mut self,
        key: Tensor<4>,
        value: Tensor<4>,
        window: usize,
    ) -> [Tensor<4>; 2] {
        self.tokens += key.dims()[2];
        let joined = match self.keys_values.take() {
            Some([keys, values]) => [
                Tensor::cat(vec![keys, key], 2),
                Tensor::cat(vec![values, value], 2),
            ],
            None => [key, value],
        };
        let kept = joined.map(|all| {
            let tokens = all.dims()[2];
            all.narrow(2, tokens.saturating_sub(window), tokens.min(window))
        });
        self.keys_values = Some(kept.clone());
        kept
    }

    /// Forgets all but the first `tokens` tokens. `false`, and nothing is forgotten, where older ones have been dropped
    /// that a shorter text would need.
    #[must_use]
    pub fn truncate(&mut self, tokens: usize) -> bool {
        if tokens >= self.tokens {
            return true;
        }
        if tokens == 0 {
            *self = Self::default();
            return true;
        }
        if let Some([keys, values]) = &self.keys_values {
            if keys.dims()[2] < self.tokens {
                return false;
            }
            let first = [keys, values].map(|all| all.clone().narrow(2, 0, tokens));
            self.keys_values = Some(first);
        }
        self.inputs = self.inputs.take().map(|inputs| match inputs {
            Hidden::Tokens(ids) => Hidden::Tokens(ids.narrow(1, 0, tokens)),
            Hidden::States(states) => Hidden::States(states.narrow(1, 0, tokens)),
            other => other,
        });
        self.tokens = tokens;
        true
    }
}
