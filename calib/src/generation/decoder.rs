//! A decoder with its weights, which continues any number of texts.
//!
//! What it knows of a text is in a [`TextMemory`]. Texts that are continued together share each pass over the weights, and
//! each comes out bit by bit as it does alone.

use super::error::GenerationError;
use super::memory::TextMemory;
use crate::attention_policy::AttentionPolicy;
use crate::hidden::values;
use crate::plain_cache::CacheFloats;
use crate::{Hidden, KeyValueCache, Model, NextTokens, NoTap, Stage, StageError, WeightSource};
use burn::tensor::{Device, Int, Tensor, TensorData};
use quantizers::graph::RopeScaling;
use quantizers::kernels::PackedMatrix;
use quantizers::scratch::Scratch;
use smallvec::SmallVec;
use std::sync::Arc;

/// Tokens that are worth taking one by one rather than the whole text again.
const ONE_BY_ONE: usize = 16;
/// Tokens of a prompt that are run at once: what they hold meanwhile does not grow with its length.
const PIECE: usize = 512;
/// Texts of one pass over the weights: more would be multiplied in another order than one alone.
const TEXTS_AT_ONCE: usize = PackedMatrix::MOST_ALIKE;
/// Positions whose logits are computed at a time where all of them are wanted.
const POSITIONS_AT_ONCE: usize = 64;

/// A text, and the token that follows what the memory has seen of it.
pub type NextToken<'m> = (&'m mut TextMemory, u32);

/// A decoder in memory.
pub struct Decoder {
    stages: Vec<Box<dyn Stage>>,
    limit: Option<usize>,
    /// Longer texts turn their keys by other angles, from the first token on.
    short: Option<usize>,
    /// What keys and values are kept as where no policy packs them.
    floats: CacheFloats,
    /// Whether prompts may be run piece by piece.
    takes_pieces: bool,
    device: Device,
}

impl Decoder {
    /// Reads all weights of `model` from `source`; keys and values are kept as `policy` says, in 16 bits where it says
    /// nothing. `progress` is told how many of how many stages are there.
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
        let blocks = &stages[..count.saturating_sub(1)];
        Ok(Self {
            takes_pieces: blocks.iter().all(|stage| stage.takes_pieces()),
            stages,
            limit: model.max_positions(),
            short: longest_short_text(model),
            floats: CacheFloats::default(),
            device: device.clone(),
        })
    }

    /// Keeps keys and values that no policy packs as `floats`.
    #[must_use]
    pub fn keeping(mut self, floats: CacheFloats) -> Self {
        self.floats = floats;
        self
    }

    /// Most tokens of a text, the new ones included.
    pub fn limit(&self) -> Option<usize> {
        self.limit
    }

    /// The memory of a text of which nothing has been seen.
    ///
    /// # Errors
    /// A policy of attention that cannot continue a text.
    pub fn memory(&self) -> Result<TextMemory, StageError> {
        let caches = self.stages.iter().map(|stage| stage.cache(self.floats));
        Ok(TextMemory::of(caches.collect::<Result<_, _>>()?))
    }

    /// Logits `[vocabulary]` of the token after `tokens`. What `memory` holds of a text that begins alike is not
    /// computed again.
    ///
    /// # Errors
    /// No tokens, more than the model takes, a token it does not have.
    pub fn logits_after<'m>(
        &self,
        memory: &'m mut TextMemory,
        tokens: &[u32],
    ) -> Result<&'m [f32], GenerationError> {
        in_pool(|| self.run_to(memory, tokens))?;
        memory.logits().ok_or(GenerationError::NoPrompt)
    }

    fn run_to(&self, memory: &mut TextMemory, tokens: &[u32]) -> Result<(), GenerationError> {
        self.check_length(tokens.len())?;
        if self.is_long(memory.seen.len()) != self.is_long(tokens.len()) {
            *memory = self.memory()?;
        }
        let alike = tokens.iter().zip(&memory.seen).take_while(|(a, b)| a == b);
        let alike = alike.count();
        if alike < memory.seen.len() || alike == tokens.len() && memory.last.is_none() {
            // At least one token is to be run.
            let is_kept = memory.forget_after(alike.min(tokens.len() - 1));
            if !is_kept {
                *memory = self.memory()?;
            }
        }
        let new = &tokens[memory.seen.len()..];
        if !memory.seen.is_empty() && new.len() <= ONE_BY_ONE {
            for token in new {
                self.next(&mut [(&mut *memory, *token)])?;
            }
            return Ok(());
        }
        let in_pieces = self.takes_pieces && !self.is_long(tokens.len());
        if !in_pieces && !memory.seen.is_empty() {
            *memory = self.memory()?;
        }
        let done = self.run_from(memory, tokens, if in_pieces { PIECE } else { tokens.len() });
        if done.is_err() {
            // Some stages have seen tokens that others have not.
            *memory = self.memory()?;
        }
        done
    }

    /// Those of `tokens` that `memory` has not seen, `piece` at a time.
    fn run_from(
        &self,
        memory: &mut TextMemory,
        tokens: &[u32],
        piece: usize,
    ) -> Result<(), GenerationError> {
        let mut states = None;
        let from = memory.seen.len();
        for tokens in tokens[from..].chunks(piece) {
            states = Some(self.begin(memory, tokens)?);
            memory.seen.extend_from_slice(tokens);
        }
        match states {
            Some(states) => self.finish(memory, states),
            None => Ok(()),
        }
    }

    /// Adds a token to each of several texts of which something has been seen: [`TextMemory::logits`] is then that of the token after it.
    ///
    /// # Errors
    /// As [`Self::logits_after`]; what the memories hold then means nothing.
    pub fn step(&self, texts: &mut [NextToken<'_>]) -> Result<(), GenerationError> {
        let mut together: SmallVec<[NextToken<'_>; TEXTS_AT_ONCE]> = SmallVec::new();
        for (memory, token) in texts {
            let tokens = memory.seen.len() + 1;
            self.check_length(tokens)?;
            if self.is_long(tokens - 1) == self.is_long(tokens) {
                together.push((&mut **memory, *token));
            } else {
                let mut all = memory.seen.clone();
                all.push(*token);
                self.logits_after(memory, &all)?;
            }
        }
        in_pool(|| {
            let mut each = together.chunks_mut(TEXTS_AT_ONCE);
            each.try_for_each(|texts| self.next(texts))
        })
    }

    /// Runs `tokens` from the first on, and shows `each` the logits after every one of them but the last, those of some
    /// consecutive tokens at a time with the number of the first. Those of the last are what [`TextMemory::logits`] has.
    ///
    /// # Errors
    /// As [`Self::logits_after`].
    pub fn logits_of_all(
        &self,
        memory: &mut TextMemory,
        tokens: &[u32],
        each: &mut dyn FnMut(usize, &[&[f32]]),
    ) -> Result<(), GenerationError> {
        self.check_length(tokens.len())?;
        *memory = self.memory()?;
        let states = self.begin(memory, tokens)?;
        if let (Hidden::States(states), Some(head)) = (&states, self.stages.last()) {
            let count = tokens.len() - 1;
            for from in (0..count).step_by(POSITIONS_AT_ONCE) {
                let here = POSITIONS_AT_ONCE.min(count - from);
                let states = states.clone().narrow(1, from, here);
                // The last stage works position by position.
                let all = head.forward(Hidden::States(states), &mut NoTap)?;
                let all = values(all.into_states(|| "logits".to_owned())?);
                let rows: Vec<&[f32]> = all.chunks_exact(all.len() / here).collect();
                each(from, &rows);
            }
        }
        memory.seen.extend_from_slice(tokens);
        self.finish(memory, states)
    }

    fn check_length(&self, tokens: usize) -> Result<(), GenerationError> {
        match self.limit {
            _ if tokens == 0 => Err(GenerationError::NoPrompt),
            Some(limit) if tokens > limit => Err(GenerationError::TooLong {
                found: tokens,
                limit,
            }),
            _ => Ok(()),
        }
    }

    fn is_long(&self, tokens: usize) -> bool {
        self.short.is_some_and(|short| tokens > short)
    }

    /// All of `tokens` at once, after those that `memory` holds, up to the last stage.
    fn begin(&self, memory: &mut TextMemory, tokens: &[u32]) -> Result<Hidden, GenerationError> {
        let (_, blocks) = self.stages.split_last().ok_or(GenerationError::NoPrompt)?;
        let mut hidden = ids(tokens, [1, tokens.len()], &self.device);
        for (stage, cache) in blocks.iter().zip(&mut memory.caches) {
            hidden = stage.begin(hidden, cache)?;
        }
        Ok(hidden)
    }

    /// The last stage, at the last of the positions that [`Self::begin`] returned.
    fn finish(&self, memory: &mut TextMemory, hidden: Hidden) -> Result<(), GenerationError> {
        let (last, _) = self.stages.split_last().ok_or(GenerationError::NoPrompt)?;
        // Of the other positions nobody asks what follows.
        let next = NextTokens::last_of(hidden.into_states(head)?);
        let cache = memory.caches.last_mut().ok_or(GenerationError::NoPrompt)?;
        let logits = last.next_of_each(next, &mut [cache], &self.device)?;
        memory.last = Some(logits.into_rows(head)?);
        Ok(())
    }

    /// One more token of each text, at most [`TEXTS_AT_ONCE`].
    fn next(&self, texts: &mut [NextToken<'_>]) -> Result<(), GenerationError> {
        if texts.is_empty() {
            return Ok(());
        }
        let tokens = texts.iter().map(|(_, token)| *token);
        let mut next = NextTokens::Ids(Scratch::collected(tokens));
        for (index, stage) in self.stages.iter().enumerate() {
            let caches = texts.iter_mut();
            let mut caches: SmallVec<[&mut KeyValueCache; TEXTS_AT_ONCE]> = caches
                .map(|(memory, _)| &mut memory.caches[index])
                .collect();
            next = stage.next_of_each(next, &mut caches, &self.device)?;
        }
        let logits = next.into_rows(head)?;
        for (memory, token) in &mut *texts {
            memory.seen.push(*token);
        }
        if let [(memory, _)] = texts {
            memory.last = Some(logits);
            return Ok(());
        }
        let each = logits.chunks_exact(logits.len() / texts.len());
        for ((memory, _), logits) in texts.iter_mut().zip(each) {
            memory.last = Some(Scratch::copied(logits));
        }
        Ok(())
    }
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

/// Does `work` on a thread of the pool: one outside it would hand over, and wait, at every product.
fn in_pool<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    rayon::scope(|_| work())
}

fn ids(tokens: &[u32], shape: [usize; 2], device: &Device) -> Hidden {
    let ids: Vec<i32> = tokens.iter().map(|id| id.cast_signed()).collect();
    let data = TensorData::new(ids, shape);
    Hidden::Tokens(Tensor::<2, Int>::from_data(data, device))
}

fn head() -> String {
    "head".to_owned()
}
