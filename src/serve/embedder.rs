//! The thread that owns an encoder.

use super::embeddings::of_unit_length;
use super::failure::Failure;
use super::job::{EmbeddingJob, Job};
use super::metrics::Metrics;
use super::queue::Queue;
use calib::inputs::Inputs;
use eval::error::Side;
use eval::runner::{Pooling, Runner, Wanted};
use std::time::Instant;

/// Embeds texts that come through a queue.
pub(super) struct Embedder<'e> {
    pub(super) runner: &'e dyn Runner,
    pub(super) pooling: Pooling,
    pub(super) queue: &'e Queue<EmbeddingJob>,
    pub(super) metrics: &'e Metrics,
}

impl Embedder<'_> {
    /// Works until the queue is closed.
    pub(super) fn run(&self) {
        while let Some(job) = self.queue.wait() {
            if job.is_given_up() {
                self.metrics.cancelled.add(1);
                continue;
            }
            let started = Instant::now();
            let tokens = job.texts.iter().map(Vec::len).sum();
            let texts = job.texts.len();
            let inputs = Inputs::Tokens(job.texts);
            let wanted = Wanted::Embedding(self.pooling);
            let rows = self.runner.rows(Side::Original, &inputs, wanted, &());
            self.metrics.prompt(tokens, started.elapsed());
            self.metrics.embedded.add(texts);
            let vectors = rows
                .map(|rows| rows.into_iter().map(of_unit_length).collect())
                .map_err(|error| Failure::server(error.to_string()));
            job.reply.tell(vectors);
        }
    }
}
