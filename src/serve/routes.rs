//! Which path is answered by what.

use super::answer::Writer;
use super::failure::Failure;
use super::job::{EmbeddingJob, Reply, TextJob};
use super::reply::{json, streamed, whole};
use super::request::{Shape, TextRequest};
use super::served::{Decoding, Encoding, Served};
use super::server::Server;
use super::{chat, completions, embeddings};
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::json as value;
use std::sync::Arc;
use tokio::sync::mpsc::unbounded_channel;

/// Most bytes of a body.
const MOST_BODY: usize = 8 << 20;
/// The page may run its own script and ask this server, and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

type Shared = State<Arc<Server>>;

/// Everything that is answered.
pub(super) fn router(server: Arc<Server>) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .route("/v1/models", get(models))
        .route("/v1/models/{*name}", get(model))
        .route("/v1/completions", post(complete))
        .route("/v1/chat/completions", post(chat))
        .route("/v1/embeddings", post(embed))
        .fallback(|request: Request| async move { Failure::path(request.uri().path()) })
        .method_not_allowed_fallback(|request: Request| async move {
            Failure::method(request.method().as_str(), request.uri().path())
        })
        .layer(from_fn_with_state(Arc::clone(&server), guard))
        .with_state(server)
}

/// Lets those pass that may ask, and counts answers.
async fn guard(State(server): Shared, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let is_open = request.uri().path() == "/health";
    let response = match &server.key {
        Some(key) if !is_open && !key.is_in(headers) => Failure::key().into_response(),
        _ if is_of_another_site(headers) => Failure::origin().into_response(),
        _ => next.run(request).await,
    };
    server.metrics.answered(response.status().as_u16());
    response
}

/// Browsers say from which page they ask; only the one served here may.
fn is_of_another_site(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(origin) = text(header::ORIGIN) else {
        return headers.contains_key(header::ORIGIN);
    };
    let host = origin.split_once("://").map(|(_, host)| host);
    host.is_none() || host != text(header::HOST)
}

async fn page() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
    ];
    (headers, include_str!("chat.html")).into_response()
}

async fn health(State(server): Shared) -> Response {
    if server.served.is_closed() {
        return Failure::stopping().into_response();
    }
    json(&value!({"status": "ok"}))
}

async fn metrics(State(server): Shared) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    let text = server.metrics.text(server.served.waiting());
    (headers, text).into_response()
}

fn described(server: &Server) -> serde_json::Value {
    let talks = match &server.served {
        Served::Decoder(model) => model.tokenizer.chat_template().is_some(),
        Served::Encoder(_) => false,
    };
    value!({
        "id": server.served.name(),
        "object": "model",
        "created": server.created,
        "owned_by": "quench",
        "max_model_len": server.served.limit(),
        "embeds": matches!(server.served, Served::Encoder(_)),
        "has_chat_template": talks,
    })
}

async fn models(State(server): Shared) -> Response {
    json(&value!({"object": "list", "data": [described(&server)]}))
}

async fn model(State(server): Shared, Path(name): Path<String>) -> Response {
    if name != server.served.name() {
        return Failure::model(&name, server.served.name()).into_response();
    }
    json(&described(&server))
}

async fn complete(State(server): Shared, request: Request) -> Response {
    text(server, request, completions::read).await
}

async fn chat(State(server): Shared, request: Request) -> Response {
    text(server, request, chat::read).await
}

async fn embed(State(server): Shared, request: Request) -> Response {
    let made = embedded(server, request).await;
    made.unwrap_or_else(Failure::into_response)
}

type ReadText = fn(&[u8], &Decoding) -> Result<TextRequest, Failure>;

async fn text(server: Arc<Server>, request: Request, read: ReadText) -> Response {
    let made = continued(server, request, read).await;
    made.unwrap_or_else(Failure::into_response)
}

async fn continued(
    server: Arc<Server>,
    request: Request,
    read: ReadText,
) -> Result<Response, Failure> {
    let body = body(request).await?;
    let reader = Arc::clone(&server);
    let request = away(move || read(&body, reader.served.decoder()?)).await?;
    let model = server.served.decoder()?;
    check_count(request.asked.len(), model.queue.most())?;
    let kind = match request.shape {
        Shape::Completion { .. } => "cmpl",
        Shape::Chat => "chatcmpl",
    };
    let prompts: Vec<&[u32]> = request
        .asked
        .iter()
        .map(|asked| asked.prompt.as_slice())
        .collect();
    let answer = server.next_answer(kind);
    let writer = Writer::new(answer, request.shape, request.scores, &prompts);
    let (to, news) = unbounded_channel();
    let jobs = request.asked.into_iter().enumerate();
    let jobs = jobs.map(|(index, asked)| TextJob {
        asked,
        scores: request.scores,
        reply: Reply {
            index,
            to: to.clone(),
        },
    });
    push(&server, model, jobs.collect())?;
    drop(to);
    Ok(if request.is_stream {
        streamed(Arc::clone(&server), writer, news, request.counts_tokens)
    } else {
        whole(&server, writer, news).await
    })
}

fn push(server: &Server, model: &Decoding, jobs: Vec<TextJob>) -> Result<(), Failure> {
    let pushed = model.queue.push(jobs);
    if pushed.is_err() {
        server.metrics.refused.add(1);
    }
    pushed
}

async fn embedded(server: Arc<Server>, request: Request) -> Result<Response, Failure> {
    let body = body(request).await?;
    let reader = Arc::clone(&server);
    let request = away(move || embeddings::read(&body, reader.served.encoder()?)).await?;
    let model: &Encoding = server.served.encoder()?;
    let (to, mut news) = unbounded_channel();
    let job = EmbeddingJob {
        texts: request.texts.clone(),
        reply: Reply { index: 0, to },
    };
    if let Err(failure) = model.queue.push(vec![job]) {
        server.metrics.refused.add(1);
        return Err(failure);
    }
    let Some((_, vectors)) = news.recv().await else {
        return Err(Failure::server("the model does not run any more"));
    };
    Ok(json(&request.answer(&vectors?, &model.name)))
}

/// The body of a request, if it is not too long.
async fn body(request: Request) -> Result<Bytes, Failure> {
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > MOST_BODY) {
        return Err(Failure::too_large(MOST_BODY));
    }
    read_body(request.into_body()).await
}

async fn read_body(body: Body) -> Result<Bytes, Failure> {
    to_bytes(body, MOST_BODY).await.map_err(|error| {
        let source = std::error::Error::source(&error);
        if source.is_some_and(|source| source.to_string().contains("length limit")) {
            Failure::too_large(MOST_BODY)
        } else {
            Failure::body(format!("the body broke off: {error}"))
        }
    })
}

/// Does `work` where it holds up no other request.
async fn away<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Failure::server(format!("the request broke it: {error}"))))
}

/// More texts than can ever wait are not a matter of waiting.
fn check_count(texts: usize, most: usize) -> Result<(), Failure> {
    if texts > most {
        return Err(Failure::field(
            "prompt",
            format!("`prompt`: this server takes {most} texts at a time, found {texts}"),
        ));
    }
    Ok(())
}
