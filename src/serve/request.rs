//! A request for text, understood: what the model is to continue, and how the answer is written.

use super::job::Scores;
use calib::generation::Continuation;

/// A request for text.
#[derive(Debug)]
pub(super) struct TextRequest {
    /// One for each text of the answer.
    pub(super) asked: Vec<Continuation>,
    pub(super) scores: Scores,
    pub(super) shape: Shape,
    pub(super) is_stream: bool,
    /// Whether a stream ends with the numbers of tokens.
    pub(super) counts_tokens: bool,
}

/// How the answer is written.
#[derive(Debug)]
pub(super) enum Shape {
    /// That of `/v1/completions`.
    Completion {
        /// Texts of the prompts, where they are repeated before what follows them.
        echo: Option<Vec<String>>,
        /// Whether tokens are named by their numbers.
        by_number: bool,
    },
    /// That of `/v1/chat/completions`.
    Chat,
}
