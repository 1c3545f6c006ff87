//! Requests over HTTP, in the form that clients of the OpenAI API speak.
//!
//! One thread owns the model; requests wait for it in a queue of bounded length. What a client asks is read and refused on
//! the HTTP side, so that the model never sees a request it cannot answer. Texts are continued together, each as it would be alone.

mod answer;
mod api_key;
mod chat;
mod completions;
mod drawing;
mod embedder;
mod embeddings;
mod engine;
mod failure;
mod fields;
mod http;
mod job;
mod metrics;
mod queue;
mod reply;
mod request;
mod routes;
mod served;
mod server;
mod token_names;

pub use http::{Address, ServeError};

use calib::generation::{Decoder, Sampling};
use calib::tokenizer::Tokenizer;
use embedder::Embedder;
use engine::Engine;
use eval::runner::{Pooling, Runner};
use queue::Queue;
use served::{Decoding, Encoding, Served};
use server::Server;

/// A decoder to serve.
pub struct DecoderToServe {
    /// Its name in requests.
    pub name: String,
    /// The model.
    pub decoder: Decoder,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
    /// Size of its vocabulary.
    pub vocabulary: usize,
    /// How tokens are drawn where a request does not say.
    pub sampling: Sampling,
    /// Most new tokens of a text.
    pub max_tokens: usize,
    /// Most texts that are continued together.
    pub parallel: usize,
}

/// An encoder to serve.
pub struct EncoderToServe<'e> {
    /// Its name in requests.
    pub name: String,
    /// The model.
    pub runner: &'e dyn Runner,
    /// How the states of a text become its vector.
    pub pooling: Pooling,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
    /// Size of its vocabulary.
    pub vocabulary: usize,
    /// Most tokens of a text.
    pub limit: Option<usize>,
}

/// Who may ask, and how many may wait.
#[derive(Debug, Clone)]
pub struct Access {
    /// The key requests have to carry.
    pub key: Option<String>,
    /// Most texts that wait.
    pub max_queue: usize,
}

/// Serves a decoder at `address` until the program is asked to stop.
///
/// # Errors
/// An address that cannot be had.
pub fn decoder(model: DecoderToServe, access: &Access, address: Address) -> Result<(), ServeError> {
    let served = Served::Decoder(Decoding {
        name: model.name,
        tokenizer: model.tokenizer.clone(),
        vocabulary: model.vocabulary,
        limit: model.decoder.limit(),
        max_tokens: model.max_tokens,
        sampling: model.sampling,
        queue: Queue::new(access.max_queue),
    });
    let server = Server::new(served, access.key.as_deref());
    http::run(server, address, |server| {
        if let Served::Decoder(serving) = &server.served {
            let engine = Engine {
                decoder: model.decoder,
                tokenizer: &model.tokenizer,
                queue: &serving.queue,
                metrics: &server.metrics,
                most: model.parallel,
                is_over: &server.is_over,
            };
            engine.run();
        }
    })
}

/// Serves an encoder at `address` until the program is asked to stop.
///
/// # Errors
/// An address that cannot be had.
pub fn encoder(
    model: EncoderToServe<'_>,
    access: &Access,
    address: Address,
) -> Result<(), ServeError> {
    let served = Served::Encoder(Encoding {
        name: model.name,
        tokenizer: model.tokenizer,
        vocabulary: model.vocabulary,
        limit: model.limit,
        queue: Queue::new(access.max_queue),
    });
    let server = Server::new(served, access.key.as_deref());
    http::run(server, address, |server| {
        if let Served::Encoder(serving) = &server.served {
            let embedder = Embedder {
                runner: model.runner,
                pooling: model.pooling,
                queue: &serving.queue,
                metrics: &server.metrics,
            };
            embedder.run();
        }
    })
}
