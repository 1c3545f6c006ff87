//! A small Hub on loopback: the four requests a download makes, and its bad days.

use crate::http::{Request, Response, Server};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard};

/// What the Hub holds and how it behaves.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// `models/owner/name` or `datasets/owner/name` to its files.
    pub(crate) repositories: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    /// Files stored as large files.
    pub(crate) large: BTreeSet<String>,
    /// Answers to requests for content that break off halfway, from `cut_from` on.
    pub(crate) cuts: usize,
    /// First offset a cut may happen at.
    pub(crate) cut_from: usize,
    /// The token every request must carry.
    pub(crate) token: Option<String>,
    /// Status and error code of every answer.
    pub(crate) refusal: Option<(u16, &'static str)>,
    /// Content is sent whole whatever range is asked for.
    pub(crate) ignores_ranges: bool,
    /// Content is sent with its last byte changed.
    pub(crate) corrupts: bool,
    /// Requests for content as `file start`.
    pub(crate) served: Vec<String>,
}

/// The commit every repository is at.
pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A running Hub; stops when dropped.
pub(crate) struct FakeHub {
    server: Server,
    state: Arc<Mutex<State>>,
}

impl FakeHub {
    pub(crate) fn start() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let server = Server::start(move |request| shared.lock().unwrap().answer(request));
        Self { server, state }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.server.address())
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

fn refuse(status: u16, code: &'static str) -> Response {
    let body = format!("{{\"error\": \"{code} on loopback\"}}").into_bytes();
    let headers = vec![("X-Error-Code", code.to_owned())];
    Response {
        status,
        headers,
        body,
        cut_at: None,
    }
}

fn json(value: &serde_json::Value) -> Response {
    Response {
        status: 200,
        body: value.to_string().into_bytes(),
        ..Response::default()
    }
}

impl State {
    fn answer(&mut self, request: &Request) -> Response {
        if let Some((status, code)) = self.refusal {
            return refuse(status, code);
        }
        if let Some(token) = &self.token
            && request.header("Authorization") != Some(&format!("Bearer {token}"))
        {
            return refuse(401, "");
        }
        let parts: Vec<&str> = request.path.trim_start_matches('/').split('/').collect();
        match parts.as_slice() {
            ["api", kind, owner, name, question, revision, ..] => self.describe(
                request,
                &format!("{kind}/{owner}/{name}"),
                question,
                revision,
            ),
            ["datasets", owner, name, "resolve", COMMIT, file @ ..] => self.content(
                request,
                &format!("datasets/{owner}/{name}"),
                &file.join("/"),
            ),
            [owner, name, "resolve", COMMIT, file @ ..] => {
                self.content(request, &format!("models/{owner}/{name}"), &file.join("/"))
            }
            _ => refuse(404, ""),
        }
    }

    fn describe(
        &self,
        request: &Request,
        repository: &str,
        question: &str,
        revision: &str,
    ) -> Response {
        let Some(files) = self.repositories.get(repository) else {
            return refuse(404, "RepoNotFound");
        };
        if !["main", "v1", COMMIT].contains(&revision) {
            return refuse(404, "RevisionNotFound");
        }
        let listed = |(path, content): (&String, &Vec<u8>)| self.listed(path, content);
        match question {
            "revision" => json(&serde_json::json!({ "id": repository, "sha": COMMIT })),
            "tree" => json(&files.iter().map(listed).collect()),
            "paths-info" => {
                let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
                let wanted = body["paths"].as_array().unwrap();
                let asked =
                    |(path, _): &(&String, &Vec<u8>)| wanted.iter().any(|w| w == path.as_str());
                json(&files.iter().filter(asked).map(listed).collect())
            }
            _ => refuse(404, ""),
        }
    }

    /// An entry of a listing as the Hub writes it: the hash of a large file is its `oid`.
    fn listed(&self, path: &str, content: &[u8]) -> serde_json::Value {
        let (hash, size) = (hex(content), content.len());
        let mut entry =
            serde_json::json!({ "type": "file", "oid": &hash[..40], "size": size, "path": path });
        if self.large.contains(path) {
            entry["lfs"] = serde_json::json!({ "oid": hash, "size": size, "pointerSize": 134 });
        }
        entry
    }

    fn content(&mut self, request: &Request, repository: &str, file: &str) -> Response {
        let files = self.repositories.get(repository);
        let Some(stored) = files.and_then(|files| files.get(file)) else {
            return refuse(404, "EntryNotFound");
        };
        let hash = hex(stored);
        let name = if self.large.contains(file) {
            &hash[..]
        } else {
            &hash[..40]
        };
        let headers = vec![
            ("ETag", format!("\"{name}\"")),
            ("X-Repo-Commit", COMMIT.to_owned()),
        ];
        let mut body = stored.clone();
        if self.corrupts
            && let Some(last) = body.last_mut()
        {
            *last ^= 1;
        }
        if request.method == "HEAD" {
            return Response {
                status: 200,
                headers,
                body,
                cut_at: None,
            };
        }
        let range = request.header("Range").filter(|_| !self.ignores_ranges);
        let range = range.and_then(|range| parse_range(range, body.len()));
        let (start, end) = range.unwrap_or((0, body.len()));
        self.served.push(format!("{file} {start}"));
        let body = body[start..end].to_vec();
        let cut = self.cuts > 0 && start >= self.cut_from && body.len() > 1;
        self.cuts -= usize::from(cut);
        let status = if range.is_some() { 206 } else { 200 };
        Response {
            status,
            headers,
            cut_at: cut.then_some(body.len() / 2),
            body,
        }
    }
}

fn hex(content: &[u8]) -> String {
    let mut text = String::new();
    for byte in Sha256::digest(content) {
        write!(text, "{byte:02x}").unwrap();
    }
    text
}

/// `bytes=start-last` as a half-open range.
fn parse_range(text: &str, length: usize) -> Option<(usize, usize)> {
    let (start, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let end = last
        .parse::<usize>()
        .map_or(length, |last| (last + 1).min(length));
    Some((start.parse::<usize>().ok()?.min(end), end))
}
