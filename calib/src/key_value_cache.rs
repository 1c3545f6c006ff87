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

    /// Adds the input of the next token and returns the inputs of all tokens.
    pub fn with_input(&mut self, next: Hidden) -> Hidden {
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
        self.tokens += 1;
        all
    }

    /// Adds the key and value `[batch, kv_heads, 1, head_dim]` of the next token and returns those of
    /// the last `window` tokens; older ones are dropped.
    pub fn with_key_value(
        &mut self,
        key: Tensor<4>,
        value: Tensor<4>,
        window: usize,
    ) -> [Tensor<4>; 2] {
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
        self.tokens += 1;
        kept
    }
}
