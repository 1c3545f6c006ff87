//! The loop: choose, show, run.

use super::continuation::{Continuation, FinishReason};
use super::continuing::Continuing;
use super::error::GenerationError;
use super::session::Session;
use crate::tokenizer::Tokenizer;
use std::ops::ControlFlow;
use std::time::Instant;

/// How long it took.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Speed {
    /// Seconds until the first token could be chosen.
    pub prompt_seconds: f64,
    /// Seconds of running the tokens after it.
    pub seconds: f64,
}

/// What came.
#[derive(Debug, Clone, PartialEq)]
pub struct Generated {
    /// The tokens, without the one that ended it.
    pub tokens: Vec<u32>,
    /// Logarithms of their probabilities.
    pub log_probabilities: Vec<f64>,
    /// The text, cut at the stop.
    pub text: String,
    /// Why it ended.
    pub finish: FinishReason,
    /// How long it took.
    pub speed: Speed,
}

/// Continues a prompt; `show` is given the text piece by piece and may break off.
///
/// # Errors
/// A prompt that is empty or too long, logits that are not finite, tokens the tokenizer refuses.
pub fn generate(
    session: &mut Session,
    tokenizer: &Tokenizer,
    asked: &Continuation,
    show: &mut dyn FnMut(&str) -> ControlFlow<()>,
) -> Result<Generated, GenerationError> {
    let mut continuing = Continuing::new(tokenizer, asked, session.limit())?;
    let mut made = Generated {
        tokens: Vec::new(),
        log_probabilities: Vec::new(),
        text: String::new(),
        finish: FinishReason::Length,
        speed: Speed::default(),
    };
    let started = Instant::now();
    session.logits_after(&asked.prompt)?;
    made.speed.prompt_seconds = started.elapsed().as_secs_f64();
    while continuing.finish().is_none() {
        let started = Instant::now();
        let logits = session.logits_after(continuing.context())?;
        let written = continuing.take(logits)?;
        made.speed.seconds += started.elapsed().as_secs_f64();
        if !written.is_end {
            made.tokens.push(written.choice.token);
            made.log_probabilities.push(written.choice.log_probability);
        }
        made.text.push_str(&written.shown);
        if !written.shown.is_empty() && show(&written.shown).is_break() {
            made.finish = FinishReason::Cancelled;
            return Ok(made);
        }
    }
    made.finish = continuing.finish().unwrap_or(FinishReason::Length);
    Ok(made)
}
