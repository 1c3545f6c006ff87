//! The thread that owns the model: it runs prompts one by one, and between them continues all texts together.

use super::failure::Failure;
use super::job::{Event, Job, Scored, TextJob};
use super::metrics::Metrics;
use super::queue::Queue;
use calib::generation::{Continuing, Decoder, GenerationError, NextToken, TextMemory, likelihoods};
use calib::tokenizer::Tokenizer;
use rayon::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Continues texts that come through a queue.
pub(super) struct Engine<'e> {
    pub(super) decoder: Decoder,
    pub(super) tokenizer: &'e Tokenizer,
    pub(super) queue: &'e Queue<TextJob>,
    pub(super) metrics: &'e Metrics,
    /// Most texts that are continued together.
    pub(super) most: usize,
    /// Set when texts are not to be finished any more.
    pub(super) is_over: &'e AtomicBool,
}

/// A text under way.
struct Running<'t> {
    job: TextJob,
    text: Continuing<'t>,
    memory: TextMemory,
}

impl<'e> Engine<'e> {
    /// Works until the queue is closed and everything taken from it has ended.
    pub(super) fn run(&self) {
        let mut running: Vec<Running<'e>> = Vec::new();
        loop {
            let job = if running.is_empty() {
                match self.queue.wait() {
                    Some(job) => Some(job),
                    None => return,
                }
            } else if running.len() < self.most {
                self.queue.next()
            } else {
                None
            };
            // One prompt between two steps: those that are under way wait for no more.
            if let Some(job) = job {
                running.extend(self.begin(job));
            }
            self.continue_all(&mut running);
            self.metrics.set_running(running.len());
        }
    }

    /// Runs a prompt and takes the first token; nothing if the text has ended with that.
    fn begin(&self, job: TextJob) -> Option<Running<'e>> {
        if job.is_given_up() {
            self.metrics.cancelled.add(1);
            return None;
        }
        if self.is_over.load(Ordering::Relaxed) {
            job.fail(Failure::stopping());
            return None;
        }
        let started = Instant::now();
        let begun = self.prompted(&job);
        let (text, memory) = match begun {
            Ok(begun) => begun,
            Err(error) => {
                job.fail(failure(&error));
                return None;
            }
        };
        self.metrics
            .prompt(job.asked.prompt.len(), started.elapsed());
        let mut new = Running { job, text, memory };
        if new.text.finish().is_none() {
            if let Err(error) = new.take() {
                new.job.fail(failure(&error));
                return None;
            }
            self.metrics.new_tokens.add(1);
        }
        self.keeps(&new).then_some(new)
    }

    fn prompted(&self, job: &TextJob) -> Result<(Continuing<'e>, TextMemory), GenerationError> {
        let text = Continuing::new(self.tokenizer, &job.asked, self.decoder.limit())?;
        let mut memory = self.decoder.memory()?;
        let prompt = &job.asked.prompt;
        let mut scored = Vec::new();
        if job.scores.of_prompt {
            scored.push(Some(Scored::plain(prompt[0])));
            let mut show = |from: usize, rows: &[&[f32]]| {
                let tokens = &prompt[from + 1..];
                let more = rows
                    .par_iter()
                    .zip(tokens)
                    .map(|(logits, token)| scored_by(logits, *token, job.scores.top));
                scored.par_extend(more);
            };
            self.decoder.logits_of_all(&mut memory, prompt, &mut show)?;
        } else {
            self.decoder.logits_after(&mut memory, prompt)?;
        }
        let scored: Option<Vec<Scored>> = scored.into_iter().collect();
        let scored = scored.ok_or(GenerationError::NotFinite {
            position: prompt.len(),
        })?;
        job.reply.tell(Event::Began(scored));
        Ok((text, memory))
    }

    /// One token more for each of `running`; those that have ended, or that nobody waits for, leave it.
    fn continue_all(&self, running: &mut Vec<Running<'e>>) {
        let is_over = self.is_over.load(Ordering::Relaxed);
        running.retain(|one| {
            if one.job.is_given_up() {
                self.metrics.cancelled.add(1);
                return false;
            }
            if is_over {
                one.job.fail(Failure::stopping());
            }
            !is_over
        });
        if running.is_empty() {
            return;
        }
        let started = Instant::now();
        let mut texts: Vec<NextToken<'_>> = running
            .iter_mut()
            .filter_map(|one| Some((&mut one.memory, *one.text.context().last()?)))
            .collect();
        if let Err(error) = self.decoder.step(&mut texts) {
            for one in running.drain(..) {
                one.job.fail(failure(&error));
            }
            return;
        }
        let taken: Vec<Result<(), GenerationError>> =
            running.par_iter_mut().map(Running::take).collect();
        self.metrics.step(started.elapsed());
        self.metrics.new_tokens.add(taken.len());
        let mut taken = taken.into_iter();
        running.retain(|one| match taken.next() {
            Some(Err(error)) => {
                one.job.fail(failure(&error));
                false
            }
            _ => self.keeps(one),
        });
    }

    /// Whether `one` goes on; whoever waits for it is told if not.
    fn keeps(&self, one: &Running<'_>) -> bool {
        let Some(finish) = one.text.finish() else {
            return true;
        };
        self.metrics.finished.add(1);
        one.job.reply.tell(Event::Ended(finish));
        false
    }
}

impl Running<'_> {
    /// Takes the next token by what the memory has.
    fn take(&mut self) -> Result<(), GenerationError> {
        let not_finite = || GenerationError::NotFinite {
            position: self.job.asked.prompt.len(),
        };
        let logits = self.memory.logits().ok_or_else(not_finite)?;
        let written = self.text.take(logits)?;
        let token = written.choice.token;
        let token = if self.job.scores.of_new {
            scored_by(logits, token, self.job.scores.top).ok_or_else(not_finite)?
        } else {
            Scored::plain(token)
        };
        self.job.reply.tell(Event::Wrote {
            text: written.shown,
            token,
            is_end: written.is_end,
        });
        Ok(())
    }
}

/// `token` with its probability by `logits`.
fn scored_by(logits: &[f32], token: u32, top: usize) -> Option<Scored> {
    let (own, top) = likelihoods(logits, token, top)?;
    Some(Scored {
        token,
        log_probability: Some(own),
        top,
    })
}

/// What a client hears of it.
fn failure(error: &GenerationError) -> Failure {
    match error {
        GenerationError::NoPrompt | GenerationError::TooLong { .. } => {
            Failure::too_long("prompt", error.to_string())
        }
        error => Failure::server(error.to_string()),
    }
}
