//! Tokens to text while they come.
//!
//! A token may be half a character, and what a token reads as depends on those before it: sentencepiece drops the space
//! before the first. So a few tokens are always decoded together with those that were shown last.

use crate::tokenizer::{Tokenizer, TokenizerError};

/// Tokens of the prompt that are decoded before the first new one; more, up to [`LONGEST_CONTEXT`], where these begin
/// within a character.
const CONTEXT: usize = 8;
const LONGEST_CONTEXT: usize = 64;
/// Tokens that may wait for the rest of a character; then it is none.
const PATIENCE: usize = 4;

/// The text of tokens that come one by one.
#[derive(Debug)]
pub struct TextStream<'t> {
    tokenizer: &'t Tokenizer,
    ids: Vec<u32>,
    /// The first token that is decoded with those to come.
    context: usize,
    /// Tokens before this one have been shown.
    shown: usize,
}

impl<'t> TextStream<'t> {
    /// Continues `prompt`, of which nothing is shown.
    ///
    /// # Errors
    /// The tokenizer refuses the tokens.
    pub fn new(tokenizer: &'t Tokenizer, prompt: &[u32]) -> Result<Self, TokenizerError> {
        let least = prompt.len().saturating_sub(LONGEST_CONTEXT);
        let mut from = prompt.len().saturating_sub(CONTEXT);
        while from > least && tokenizer.decode(&prompt[from..])?.starts_with('\u{fffd}') {
            from -= 1;
        }
        let ids = prompt[from..].to_vec();
        Ok(Self {
            tokenizer,
            context: 0,
            shown: ids.len(),
            ids,
        })
    }

    /// What can be shown once `token` has come: nothing while a character is not complete.
    ///
    /// # Errors
    /// The tokenizer refuses the tokens.
    pub fn push(&mut self, token: u32) -> Result<String, TokenizerError> {
        self.ids.push(token);
        let is_patient = self.ids.len() - self.shown <= PATIENCE;
        self.more(is_patient)
    }

    /// What is left once no more tokens come.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn finish(&mut self) -> Result<String, TokenizerError> {
        self.more(false)
    }

    fn more(&mut self, is_patient: bool) -> Result<String, TokenizerError> {
        let before = self.tokenizer.decode(&self.ids[self.context..self.shown])?;
        let all = self.tokenizer.decode(&self.ids[self.context..])?;
        if is_patient && all.ends_with('\u{fffd}') {
            return Ok(String::new());
        }
        // A decoder may read the last shown tokens otherwise once more come; what is out stays out.
        let common = before.bytes().zip(all.bytes()).take_while(|(a, b)| a == b);
        let mut at = common.count();
        while !all.is_char_boundary(at) {
            at -= 1;
        }
        let piece = all[at..].to_owned();
        // Tokens without text say nothing of how the next ones read, and what ends within a character is read together
        // with the rest of it.
        if !piece.is_empty() && !before.ends_with('\u{fffd}') {
            self.context = self.shown;
        }
        self.shown = self.ids.len();
        Ok(piece)
    }
}
