//! A small Hub on loopback: the four requests a download makes, and its bad days.

use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use tiny_http::{Header, Method, Request, Response, Server};

/// What the Hub holds and how it behaves.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// `models/owner/name` or `datasets/owner/name` to its files.
    pub repositories: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    /// Files stored as large files.
    pub large: BTreeSet<String>,
    /// Answers to requests for content that break off halfway, from this offset on.
    pub cuts: usize,
    /// First offset a cut may happen at.
    pub cut_from: usize,
    /// The token every request must carry.
    pub token: Option<String>,
    /// Status and error code of every answer.
    pub refusal: Option<(u16, &'static str)>,
    /// Content is sent whole whatever range is asked for.
    pub ignores_ranges: bool,
    /// Content is sent with its last byte changed.
    pub corrupts: bool,
    /// Requests for content as `file start`.
    pub served: Vec<String>,
}

/// The commit every repository is at.
pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A running Hub; stops when dropped.
pub(crate) struct FakeHub {
    server: Arc<Server>,
    thread: Option<JoinHandle<()>>,
    state: Arc<Mutex<State>>,
}

impl FakeHub {
    pub(crate) fn start() -> Self {
        let server = Arc::new(Server::http("127.0.0.1:0").unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let (listener, shared) = (Arc::clone(&server), Arc::clone(&state));
        let thread = std::thread::spawn(move || {
            for request in listener.incoming_requests() {
                answer(request, &mut shared.lock().unwrap());
            }
        });
        Self {
            server,
            thread: Some(thread),
            state,
        }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.server.server_addr())
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn add(&self, repository: &str, file: &str, content: impl Into<Vec<u8>>) {
        let mut state = self.state();
        let files = state.repositories.entry(repository.to_owned()).or_default();
        files.insert(file.to_owned(), content.into());
    }

    pub(crate) fn add_large(&self, repository: &str, file: &str, content: impl Into<Vec<u8>>) {
        self.add(repository, file, content);
        self.state().large.insert(file.to_owned());
    }
}

impl Drop for FakeHub {
    fn drop(&mut self) {
        self.server.unblock();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn header(name: &str, value: &str) -> Header {
    Header::from_bytes(name, value).unwrap()
}

fn hex(content: &[u8]) -> String {
    Sha256::digest(content)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn refuse(request: Request, status: u16, code: &str) {
    let body = format!("{{\"error\": \"{code} on loopback\"}}");
    let response = Response::from_string(body).with_status_code(status);
    let _ = request.respond(response.with_header(header("X-Error-Code", code)));
}

fn json(request: Request, value: &serde_json::Value) {
    let _ = request.respond(Response::from_string(value.to_string()));
}

fn answer(mut request: Request, state: &mut State) {
    if let Some((status, code)) = state.refusal {
        return refuse(request, status, code);
    }
    if let Some(token) = &state.token {
        let wanted = format!("Bearer {token}");
        let given = |h: &&Header| h.field.equiv("Authorization") && h.value.as_str() == wanted;
        if request.headers().iter().find(given).is_none() {
            return refuse(request, 401, "");
        }
    }
    let url = request
        .url()
        .split('?')
        .next()
        .unwrap_or_default()
        .to_owned();
    let parts: Vec<&str> = url.trim_start_matches('/').split('/').collect();
    match parts.as_slice() {
        ["api", kind, owner, name, question, revision, ..] => {
            let Some(files) = state.repositories.get(&format!("{kind}/{owner}/{name}")) else {
                return refuse(request, 404, "RepoNotFound");
            };
            if !["main", "v1", COMMIT].contains(revision) {
                return refuse(request, 404, "RevisionNotFound");
            }
            let listed = |(path, content): (&String, &Vec<u8>)| list(state, path, content);
            match *question {
                "revision" => {
                    let id = format!("{owner}/{name}");
                    json(request, &serde_json::json!({ "id": id, "sha": COMMIT }));
                }
                "tree" => json(request, &files.iter().map(listed).collect()),
                "paths-info" => {
                    let body: serde_json::Value =
                        serde_json::from_reader(request.as_reader()).unwrap();
                    let wanted = body["paths"].as_array().unwrap();
                    let asked = |(path, _): &(&String, &Vec<u8>)| {
                        wanted.iter().any(|want| want == path.as_str())
                    };
                    json(request, &files.iter().filter(asked).map(listed).collect());
                }
                _ => refuse(request, 404, ""),
            }
        }
        ["datasets", owner, name, "resolve", COMMIT, file @ ..] => {
            content(
                request,
                state,
                &format!("datasets/{owner}/{name}"),
                &file.join("/"),
            );
        }
        [owner, name, "resolve", COMMIT, file @ ..] => {
            content(
                request,
                state,
                &format!("models/{owner}/{name}"),
                &file.join("/"),
            );
        }
        _ => refuse(request, 404, ""),
    }
}

/// An entry of a listing as the Hub writes it: the hash of a large file is its `oid`.
fn list(state: &State, path: &str, content: &[u8]) -> serde_json::Value {
    let hash = hex(content);
    let mut entry = serde_json::json!({
        "type": "file", "oid": &hash[..40], "size": content.len(), "path": path });
    if state.large.contains(path) {
        entry["lfs"] =
            serde_json::json!({ "oid": hash, "size": content.len(), "pointerSize": 134 });
    }
    entry
}

fn content(request: Request, state: &mut State, repository: &str, file: &str) {
    let Some(stored) = state
        .repositories
        .get(repository)
        .and_then(|files| files.get(file))
    else {
        return refuse(request, 404, "EntryNotFound");
    };
    let hash = hex(stored);
    let name = if state.large.contains(file) {
        &hash[..]
    } else {
        &hash[..40]
    };
    let mut bytes = stored.clone();
    if state.corrupts
        && let Some(last) = bytes.last_mut()
    {
        *last ^= 1;
    }
    let headers = [
        header("ETag", &format!("\"{name}\"")),
        header("X-Repo-Commit", COMMIT),
    ];
    if request.method() == &Method::Head {
        let mut response = Response::from_data(bytes).with_chunked_threshold(usize::MAX);
        for header in headers {
            response.add_header(header);
        }
        let _ = request.respond(response);
        return;
    }
    let range = request
        .headers()
        .iter()
        .find(|header| header.field.equiv("Range"));
    let range = range.and_then(|header| parse_range(header.value.as_str(), bytes.len()));
    let (start, end) = range
        .filter(|_| !state.ignores_ranges)
        .unwrap_or((0, bytes.len()));
    state.served.push(format!("{file} {start}"));
    let part = bytes[start..end].to_vec();
    if state.cuts > 0 && start >= state.cut_from && part.len() > 1 {
        state.cuts -= 1;
        let mut raw = request.into_writer();
        let _ = write!(
            raw,
            "HTTP/1.1 206 Partial Content\r\nContent-Length: {}\r\n",
            part.len()
        );
        let _ = write!(raw, "Connection: close\r\n\r\n");
        let _ = raw.write_all(&part[..part.len() / 2]);
        let _ = raw.flush();
        return;
    }
    let status = if end - start == bytes.len() { 200 } else { 206 };
    let mut response = Response::from_data(part).with_status_code(status);
    for header in headers {
        response.add_header(header);
    }
    let _ = request.respond(response.with_chunked_threshold(usize::MAX));
}

/// `bytes=start-last` as a half-open range.
fn parse_range(text: &str, length: usize) -> Option<(usize, usize)> {
    let (start, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let end = last
        .parse::<usize>()
        .map_or(length, |last| (last + 1).min(length));
    Some((start.parse::<usize>().ok()?.min(end), end))
}
