//! What the HTTP side hands to the thread that owns the model, and what it hears of it.

use super::failure::Failure;
use calib::generation::{Continuation, FinishReason, Likelihood};
use tokio::sync::mpsc::UnboundedSender;

/// A text to continue.
#[derive(Debug)]
pub(super) struct TextJob {
    pub(super) asked: Continuation,
    pub(super) scores: Scores,
    pub(super) reply: Reply<Event>,
}

/// Which probabilities are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Scores {
    /// Of the new tokens.
    pub(super) of_new: bool,
    /// Of the tokens of the prompt.
    pub(super) of_prompt: bool,
    /// So many of the likeliest tokens beside each.
    pub(super) top: usize,
}

/// Texts to embed.
#[derive(Debug)]
pub(super) struct EmbeddingJob {
    pub(super) texts: Vec<Vec<u32>>,
    pub(super) reply: Reply<Result<Vec<Vec<f32>>, Failure>>,
}

/// Where the news of one of the texts of a request goes.
#[derive(Debug)]
pub(super) struct Reply<T> {
    pub(super) index: usize,
    pub(super) to: UnboundedSender<(usize, T)>,
}

impl<T> Reply<T> {
    /// Whether nobody waits for it any more.
    pub(super) fn is_given_up(&self) -> bool {
        self.to.is_closed()
    }

    /// Tells it; who went away hears nothing.
    pub(super) fn tell(&self, news: T) {
        let _ = self.to.send((self.index, news));
    }
}

/// A job that can be told that it will not be done.
pub(super) trait Job: Send {
    /// Whether nobody waits for it any more.
    fn is_given_up(&self) -> bool;
    /// Ends it.
    fn fail(&self, failure: Failure);
}

impl Job for TextJob {
    fn is_given_up(&self) -> bool {
        self.reply.is_given_up()
    }

    fn fail(&self, failure: Failure) {
        self.reply.tell(Event::Failed(failure));
    }
}

impl Job for EmbeddingJob {
    fn is_given_up(&self) -> bool {
        self.reply.is_given_up()
    }

    fn fail(&self, failure: Failure) {
        self.reply.tell(Err(failure));
    }
}

/// What happens to a text, in this order.
#[derive(Debug)]
pub(super) enum Event {
    /// The prompt has been run; its tokens, where their probabilities are wanted.
    Began(Vec<Scored>),
    /// A token came.
    Wrote {
        /// What can be shown now.
        text: String,
        /// The token, with its probability where that is wanted.
        token: Scored,
        /// It ends the text, and is no part of it.
        is_end: bool,
    },
    /// The text has ended.
    Ended(FinishReason),
    /// It will not be finished.
    Failed(Failure),
}

/// A token with its probability.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scored {
    pub(super) token: u32,
    /// Logarithm of its probability; the first token of a prompt has none.
    pub(super) log_probability: Option<f64>,
    /// The likeliest tokens in its place.
    pub(super) top: Vec<Likelihood>,
}

impl Scored {
    /// A token of which nothing is said.
    pub(super) fn plain(token: u32) -> Self {
        Self {
            token,
            log_probability: None,
            top: Vec::new(),
        }
    }
}
