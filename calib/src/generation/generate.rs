//! The loop: choose, show, run.

use super::choice::Sampling;
use super::error::GenerationError;
use super::session::Session;
use super::stops::StopStrings;
use super::text_stream::TextStream;
use crate::tokenizer::Tokenizer;
use std::ops::ControlFlow;
use std::time::Instant;

/// What is to be continued, and how far.
#[derive(Debug, Clone)]
pub struct Continuation {
    /// Tokens of the prompt.
    pub prompt: Vec<u32>,
    /// Most tokens that are added.
    pub max_tokens: usize,
    /// How they are drawn.
    pub sampling: Sampling,
    /// Texts that end it; one that is a token of its own is compared as such.
    pub stops: Vec<String>,
}

/// Why it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// A token that ends a text, or a stop string.
    Stop,
    /// As many tokens as were asked for, or as the model takes.
    Length,
    /// Whoever is shown the text wanted no more.
    Cancelled,
}

impl FinishReason {
    /// Its name in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::Cancelled => "cancelled",
        }
    }
}

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
    let mut context = asked.prompt.clone();
    let room = session
        .limit()
        .map_or(usize::MAX, |limit| limit.saturating_sub(asked.prompt.len()));
    let mut ends = tokenizer.ends().to_vec();
    ends.extend(asked.stops.iter().filter_map(|stop| tokenizer.id(stop)));
    let mut stops = StopStrings::new(asked.stops.clone());
    let mut stream = TextStream::new(tokenizer, &asked.prompt)?;
    let mut made = Generated {
        tokens: Vec::new(),
        log_probabilities: Vec::new(),
        text: String::new(),
        finish: FinishReason::Length,
        speed: Speed::default(),
    };
    let started = Instant::now();
    session.logits_after(&context)?;
    made.speed.prompt_seconds = started.elapsed().as_secs_f64();
    let mut has_stopped = false;
    while made.tokens.len() < asked.max_tokens.min(room) {
        let started = Instant::now();
        let logits = session.logits_after(&context)?;
        let step = made.tokens.len() as u64;
        let choice = asked.sampling.choose(logits, &context, step);
        let choice = choice.ok_or(GenerationError::NotFinite {
            position: context.len(),
        })?;
        made.speed.seconds += started.elapsed().as_secs_f64();
        if ends.contains(&choice.token) {
            made.finish = FinishReason::Stop;
            break;
        }
        context.push(choice.token);
        made.tokens.push(choice.token);
        made.log_probabilities.push(choice.log_probability);
        let (shown, is_stop) = stops.take(&stream.push(choice.token)?);
        made.text.push_str(&shown);
        if !shown.is_empty() && show(&shown).is_break() {
            made.finish = FinishReason::Cancelled;
            return Ok(made);
        }
        if is_stop {
            made.finish = FinishReason::Stop;
            has_stopped = true;
            break;
        }
    }
    if !has_stopped {
        let (mut rest, is_stop) = stops.take(&stream.finish()?);
        if is_stop {
            made.finish = FinishReason::Stop;
        } else {
            rest.push_str(&stops.rest());
        }
        made.text.push_str(&rest);
        if !rest.is_empty() && show(&rest).is_break() {
            made.finish = FinishReason::Cancelled;
        }
    }
    Ok(made)
}
