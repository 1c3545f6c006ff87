//! A decoder with its weights and what it remembers of a text.

use super::error::GenerationError;
use crate::attention_policy::AttentionPolicy;
use crate::hidden::values;
use crate::{Hidden, KeyValueCache, Model, Stage, StageError, WeightSource};
use burn::tensor::{Device, Int, Tensor, TensorData};
use quantizers::graph::RopeScaling;
use std::sync::Arc;

/// Tokens that are worth taking one by one rather than the whole text again.
const ONE_BY_ONE: usize = 16;

/// A decoder in memory, and the keys and values of the tokens it has seen.
pub struct Session {
    stages: Vec<Box<dyn Stage>>,
    caches: Vec<KeyValueCache>,
    /// Tokens the caches are of.
    seen: Vec<u32>,
    /// Logits after the last of them, where they are known.
    last: Option<Vec<f32>>,
    limit: Option<usize>,
    /// Longer texts turn their keys by other angles, from the first token on.
    short: Option<usize>,
    device: Device,
}

impl Session {
    /// Reads all weights of `model` from `source`; keys and values are kept as `policy` says. `progress` is told how many of how many stages are there.
    ///
    /// # Errors
    /// A model that does not continue text, weights that cannot be read.
    pub fn new(
        model: &dyn Model,
        source: &dyn WeightSource,
        device: &Device,
        policy: Option<&Arc<dyn AttentionPolicy>>,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Self, GenerationError> {
        if let Some(found) = model.output().instead_of_next_token() {
            return Err(GenerationError::NotADecoder { found });
        }
        let count = model.stages();
        let mut stages = Vec::with_capacity(count);
        for stage in 0..count {
            let mut built = model.build(stage, source, device)?;
            if let Some(policy) = policy {
                built.attend_by(Arc::clone(policy));
            }
            stages.push(built);
            progress(stage + 1, count);
        }
        Ok(Self {
            caches: empty(&stages)?,
            stages,
            seen: Vec::new(),
            last: None,
            limit: model.max_positions(),
            short: longest_short_text(model),
            device: device.clone(),
        })
    }

    /// Most tokens of a text, the new ones included.
    pub fn limit(&self) -> Option<usize> {
        self.limit
    }

    /// Logits `[vocabulary]` of the token after `tokens`. What the session remembers of a text that begins alike is
    /// not computed again.
    ///
    /// # Errors
    /// No tokens, more than the model takes, a token it does not have.
    pub fn logits_after(&mut self, tokens: &[u32]) -> Result<&[f32], GenerationError> {
        if tokens.is_empty() {
            return Err(GenerationError::NoPrompt);
        }
        if let Some(limit) = self.limit.filter(|limit| tokens.len() > *limit) {
            return Err(GenerationError::TooLong {
                found: tokens.len(),
                limit,
            });
        }
        if self.is_long(self.seen.len()) != self.is_long(tokens.len()) {
            self.forget()?;
        }
        let alike = tokens.iter().zip(&self.seen).take_while(|(a, b)| a == b);
        let alike = alike.count();
        if alike < self.seen.len() || alike == tokens.len() && self.last.is_none() {
            // At least one token is to be run.
            self.forget_after(alike.min(tokens.len() - 1))?;
        }
        let new = &tokens[self.seen.len()..];
        if !self.seen.is_empty() && new.len() <= ONE_BY_ONE {
            for token in new {
                self.next(*token)?;
            }
        } else {
            self.begin(tokens)?;
        }
        self.last.as_deref().ok_or(GenerationError::NoPrompt)
    }

    fn is_long(&self, tokens: usize) -> bool {
        self.short.is_some_and(|short| tokens > short)
    }

    /// Keeps what is remembered of the first `count` tokens, or nothing where a window has dropped some of them.
    fn forget_after(&mut self, count: usize) -> Result<(), StageError> {
        self.last = None;
        self.seen.truncate(count);
        if !self.caches.iter_mut().all(|cache| cache.truncate(count)) {
            self.forget()?;
        }
        Ok(())
    }

    /// Starts over, with the weights it has.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn forget(&mut self) -> Result<(), StageError> {
        self.last = None;
        self.seen.clear();
        self.caches = empty(&self.stages)?;
        Ok(())
    }

    /// Bytes of the keys and values of the text it remembers.
    pub fn cache_bytes(&self) -> usize {
        self.caches.iter().map(KeyValueCache::bytes).sum()
    }

    /// The whole of `tokens` at once.
    fn begin(&mut self, tokens: &[u32]) -> Result<(), GenerationError> {
        self.forget()?;
        let (last, blocks) = self.stages.split_last().ok_or(GenerationError::NoPrompt)?;
        let mut hidden = ids(tokens, &self.device);
        for (stage, cache) in blocks.iter().zip(&mut self.caches) {
            hidden = stage.begin(hidden, cache)?;
        }
        // Of the other positions nobody asks what follows.
        if let Hidden::States(states) = hidden {
            hidden = Hidden::States(states.narrow(1, tokens.len() - 1, 1));
        }
        let cache = self.caches.last_mut().ok_or(GenerationError::NoPrompt)?;
        let logits = logits(last.next(hidden, cache)?)?;
        self.seen.extend_from_slice(tokens);
        self.last = Some(logits);
        Ok(())
    }

    /// One more token.
    fn next(&mut self, token: u32) -> Result<(), GenerationError> {
        let mut hidden = ids(&[token], &self.device);
        for (stage, cache) in self.stages.iter().zip(&mut self.caches) {
            hidden = stage.next(hidden, cache)?;
        }
        let logits = logits(hidden)?;
        self.seen.push(token);
        self.last = Some(logits);
        Ok(())
    }
}

fn empty(stages: &[Box<dyn Stage>]) -> Result<Vec<KeyValueCache>, StageError> {
    stages.iter().map(|stage| stage.cache()).collect()
}

/// The longest text whose rotary frequencies are those of short ones, where a model has two sets of them.
fn longest_short_text(model: &dyn Model) -> Option<usize> {
    let ropes = model
        .graph()
        .blocks()
        .filter_map(|block| block.attention.rope.as_ref());
    let limits = ropes.filter_map(|rope| match rope.scaling {
        RopeScaling::Long {
            original_positions, ..
        } => Some(original_positions),
        _ => None,
    });
    limits.min()
}

fn ids(tokens: &[u32], device: &Device) -> Hidden {
    let ids: Vec<i32> = tokens.iter().map(|id| id.cast_signed()).collect();
    let data = TensorData::new(ids, [1, tokens.len()]);
    Hidden::Tokens(Tensor::<2, Int>::from_data(data, device))
}

fn logits(hidden: Hidden) -> Result<Vec<f32>, StageError> {
    Ok(values(hidden.into_states(|| "logits".to_owned())?))
}
