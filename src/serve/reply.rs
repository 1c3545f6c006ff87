//! The body of an answer to a request for text.

use super::answer::{Piece, Writer};
use super::failure::Failure;
use super::job::Event;
use super::server::Server;
use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_core::Stream;
use serde_json::Value;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::mpsc::UnboundedReceiver;

/// News of the texts of a request, by their numbers.
pub(super) type News = UnboundedReceiver<(usize, Event)>;

/// The answer, once all of it is there.
pub(super) async fn whole(server: &Server, mut writer: Writer, mut news: News) -> Response {
    let model = match server.served.decoder() {
        Ok(model) => model,
        Err(failure) => return failure.into_response(),
    };
    let mut pieces: Vec<Piece> = Vec::new();
    while !writer.is_complete() {
        let Some((index, event)) = news.recv().await else {
            return gone().into_response();
        };
        match writer.piece(index, event, model) {
            Ok(piece) => pieces.extend(piece),
            Err(failure) => return failure.into_response(),
        }
    }
    json(&writer.whole(pieces, &model.name))
}

/// The answer as server-sent events, each as soon as there is something to show.
pub(super) fn streamed(
    server: Arc<Server>,
    writer: Writer,
    news: News,
    counts_tokens: bool,
) -> Response {
    let stream = Events {
        server,
        writer,
        news,
        counts_tokens,
        ready: VecDeque::new(),
        is_over: false,
    };
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, Body::from_stream(stream)).into_response()
}

/// An answer in JSON.
pub(super) fn json(value: &Value) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json")];
    (headers, value.to_string()).into_response()
}

/// The thread that owns the model has ended.
fn gone() -> Failure {
    Failure::server("the model does not run any more")
}

struct Events {
    server: Arc<Server>,
    writer: Writer,
    news: News,
    counts_tokens: bool,
    ready: VecDeque<Bytes>,
    is_over: bool,
}

impl Events {
    fn take(&mut self, index: usize, event: Event) -> Result<(), Failure> {
        let model = self.server.served.decoder()?;
        if let Some(piece) = self.writer.piece(index, event, model)? {
            let chunk = self.writer.chunk(&piece, &model.name, self.counts_tokens);
            self.ready.push_back(line(&chunk.to_string()));
        }
        if self.writer.is_complete() {
            if self.counts_tokens {
                let count = self.writer.count(&model.name);
                self.ready.push_back(line(&count.to_string()));
            }
            self.end();
        }
        Ok(())
    }

    fn end(&mut self) {
        self.is_over = true;
        self.ready.push_back(line("[DONE]"));
    }
}

impl Stream for Events {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(line) = this.ready.pop_front() {
                return Poll::Ready(Some(Ok(line)));
            }
            if this.is_over {
                return Poll::Ready(None);
            }
            let taken = match this.news.poll_recv(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some((index, event))) => this.take(index, event),
                Poll::Ready(None) => Err(gone()),
            };
            if let Err(failure) = taken {
                this.ready.push_back(line(&failure.to_json().to_string()));
                this.end();
            }
        }
    }
}

fn line(data: &str) -> Bytes {
    Bytes::from(format!("data: {data}\n\n"))
}
