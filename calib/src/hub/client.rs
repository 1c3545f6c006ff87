//! The Hub client, its errors in our words.

use super::environment::can_be_sent;
use super::{FetchOptions, HubError, RepoId, RepoType};
use hf_hub::{HFClient, HFClientSync, HFError};
use std::path::PathBuf;

/// A client with the settings of `options`, and the cache folder it uses.
pub(super) fn open(
    id: &RepoId,
    options: &FetchOptions,
) -> Result<(HFClientSync, PathBuf), HubError> {
    let mut builder = HFClient::builder()
        .user_agent(concat!("quench/", env!("CARGO_PKG_VERSION")))
        .retry_max_attempts(options.retries)
        .retry_base_delay(options.retry_delay);
    if let Some(token) = &options.token {
        // The client would leave it out and ask without.
        if !can_be_sent(token) {
            return Err(HubError::BadToken { id: id.path() });
        }
        builder = builder.token(token);
    }
    if let Some(folder) = &options.cache_folder {
        builder = builder.cache_dir(folder);
    }
    if let Some(endpoint) = &options.endpoint {
        builder = builder.endpoint(endpoint);
    }
    let protocol = |source: HFError| HubError::Protocol {
        id: id.path(),
        source: Box::new(source),
    };
    let client = builder.build().map_err(protocol)?;
    let cache = client.cache_dir().to_owned();
    Ok((HFClientSync::from_inner(client).map_err(protocol)?, cache))
}

/// What was asked for when an error came back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) id: &'a RepoId,
    pub(super) kind: RepoType,
    /// The file, for questions about one.
    pub(super) file: Option<&'a str>,
    pub(super) token_given: bool,
}

impl Question<'_> {
    /// The client's error as ours.
    ///
    /// The status alone cannot tell a missing repository from a missing revision or file: the
    /// Hub's error code does, and where it is absent the question decides.
    pub(super) fn explain(&self, error: HFError) -> HubError {
        let id = self.id.path();
        match error {
            HFError::AuthRequired { context } | HFError::Forbidden { context } => {
                let code = context.error_code.as_deref();
                if code == Some("RepoNotFound") {
                    return HubError::RepoNotFound {
                        id,
                        kind: self.kind.to_string(),
                    };
                }
                HubError::Denied {
                    id,
                    status: context.status.as_u16(),
                    token_given: self.token_given,
                    gated: code == Some("GatedRepo"),
                    message: context.server_message,
                }
            }
            HFError::RepoNotFound { context, .. }
            | HFError::RevisionNotFound { context, .. }
            | HFError::EntryNotFound { context, .. } => {
                self.missing(context.and_then(|context| context.error_code).as_deref())
            }
            HFError::RateLimited { retry_after, .. } => HubError::RateLimited { id, retry_after },
            HFError::Http { context } => HubError::Server {
                id,
                status: context.status.as_u16(),
                message: context.server_message,
            },
            HFError::Request { ref source, .. } if source.is_connect() || source.is_timeout() => {
                HubError::Unreachable {
                    id,
                    cached: false,
                    source: innermost(&error).into(),
                }
            }
            HFError::Io(source) => HubError::Disk {
                path: self.file.unwrap_or_default().into(),
                source,
            },
            error => HubError::Protocol {
                id,
                source: Box::new(error),
            },
        }
    }

    /// A 404 with the Hub's error code.
    fn missing(&self, code: Option<&str>) -> HubError {
        let id = self.id.path();
        let revision = self.id.revision();
        match (code, self.file, revision) {
            (Some("RevisionNotFound"), ..) | (None, None, Some(_)) => HubError::RevisionNotFound {
                id,
                revision: self.id.revision_or_main().to_owned(),
            },
            (Some("EntryNotFound") | None, Some(file), _) => HubError::FileNotFound {
                id,
                file: file.to_owned(),
                nearest: None,
            },
            _ => HubError::RepoNotFound {
                id,
                kind: self.kind.to_string(),
            },
        }
    }
}

/// What went wrong at the bottom: a connection that fails is told in five layers, four of which say nothing.
fn innermost(error: &HFError) -> String {
    let mut last: &dyn std::error::Error = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

/// Whether the same request may succeed when sent again.
pub(super) fn may_pass(error: &HFError) -> bool {
    match error {
        HFError::Request { .. } | HFError::RateLimited { .. } => true,
        HFError::Http { context } => context.status.is_server_error(),
        _ => false,
    }
}
