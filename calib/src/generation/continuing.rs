//! One text while it is continued: which token comes next, what of it can be shown, and when it ends.

use super::choice::{Choice, Sampling};
use super::continuation::{Continuation, FinishReason};
use super::error::GenerationError;
use super::stops::StopStrings;
use super::text_stream::TextStream;
use crate::tokenizer::Tokenizer;

/// A text that is being continued. Somebody else runs the model.
#[derive(Debug)]
pub struct Continuing<'t> {
    sampling: Sampling,
    /// The prompt and what came.
    context: Vec<u32>,
    prompt: usize,
    most: usize,
    ends: Vec<u32>,
    stops: StopStrings,
    stream: TextStream<'t>,
    finish: Option<FinishReason>,
}

/// What one more token brought.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// The token.
    pub choice: Choice,
    /// Whether it is one that ends texts, and no part of this one.
    pub is_end: bool,
    /// What can be shown now.
    pub shown: String,
}

impl<'t> Continuing<'t> {
    /// Begins with what is `asked`, for a model that takes `limit` tokens.
    ///
    /// # Errors
    /// Tokens the tokenizer refuses.
    pub fn new(
        tokenizer: &'t Tokenizer,
        asked: &Continuation,
        limit: Option<usize>,
    ) -> Result<Self, GenerationError> {
        let room = limit.map_or(usize::MAX, |limit| limit.saturating_sub(asked.prompt.len()));
        let most = asked.max_tokens.min(room);
        let mut ends = tokenizer.ends().to_vec();
        ends.extend(asked.stops.iter().filter_map(|stop| tokenizer.id(stop)));
        Ok(Self {
            sampling: asked.sampling.clone(),
            context: asked.prompt.clone(),
            prompt: asked.prompt.len(),
            most,
            ends,
            stops: StopStrings::new(asked.stops.clone()),
            stream: TextStream::new(tokenizer, &asked.prompt)?,
            finish: (most == 0).then_some(FinishReason::Length),
        })
    }

    /// Why it has ended, if it has.
    pub fn finish(&self) -> Option<FinishReason> {
        self.finish
    }

    /// Tokens that came.
    pub fn new_tokens(&self) -> &[u32] {
        &self.context[self.prompt..]
    }

    /// The prompt and what came.
    pub fn context(&self) -> &[u32] {
        &self.context
    }

    /// Takes the next token by `logits`, those of the token after the context. To be called until there is a
    /// [`Self::finish`].
    ///
    /// # Errors
    /// Logits that are not finite, tokens the tokenizer refuses.
    pub fn take(&mut self, logits: &[f32]) -> Result<Written, GenerationError> {
        let step = self.new_tokens().len();
        let choice = self.sampling.choose(logits, &self.context, step);
        let choice = choice.ok_or(GenerationError::NotFinite {
            position: self.context.len(),
        })?;
        if self.ends.contains(&choice.token) {
            self.finish = Some(FinishReason::Stop);
            return Ok(Written {
                choice,
                is_end: true,
                shown: self.rest()?,
            });
        }
        self.context.push(choice.token);
        let (mut shown, is_stop) = self.stops.take(&self.stream.push(choice.token)?);
        if is_stop {
            self.finish = Some(FinishReason::Stop);
        } else if step + 1 >= self.most {
            self.finish = Some(FinishReason::Length);
            shown.push_str(&self.rest()?);
        }
        Ok(Written {
            choice,
            is_end: false,
            shown,
        })
    }

    /// What was held back. A stop may be in it.
    fn rest(&mut self) -> Result<String, GenerationError> {
        let (mut rest, is_stop) = self.stops.take(&self.stream.finish()?);
        if is_stop {
            self.finish = Some(FinishReason::Stop);
        } else {
            rest.push_str(&self.stops.rest());
        }
        Ok(rest)
    }
}
