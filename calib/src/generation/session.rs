//! A decoder that continues one text at a time.

use super::decoder::Decoder;
use super::error::GenerationError;
use super::memory::TextMemory;
use crate::StageError;

/// A decoder in memory, and the keys and values of the tokens it has seen.
pub struct Session {
    decoder: Decoder,
    memory: TextMemory,
}

impl Session {
    /// A session of which nothing has been seen.
    ///
    /// # Errors
    /// A policy of attention that cannot continue a text.
    pub fn new(decoder: Decoder) -> Result<Self, StageError> {
        Ok(Self {
            memory: decoder.memory()?,
            decoder,
        })
    }

    /// Most tokens of a text, the new ones included.
    pub fn limit(&self) -> Option<usize> {
        self.decoder.limit()
    }

    /// Logits `[vocabulary]` of the token after `tokens`. What the session remembers of a text that begins alike is
    /// not computed again.
    ///
    /// # Errors
    /// No tokens, more than the model takes, a token it does not have.
    pub fn logits_after(&mut self, tokens: &[u32]) -> Result<&[f32], GenerationError> {
        self.decoder.logits_after(&mut self.memory, tokens)
    }

    /// Starts over, with the weights it has.
    ///
    /// # Errors
    /// A policy of attention that cannot continue a text.
    pub fn forget(&mut self) -> Result<(), StageError> {
        self.memory = self.decoder.memory()?;
        Ok(())
    }

    /// Bytes of the keys and values of the text it remembers.
    pub fn cache_bytes(&self) -> usize {
        self.memory.bytes()
    }
}
