//! Why something could not be had from the Hub.

use quantizers::nearest::closest_name;
use std::path::PathBuf;
use std::time::Duration;
use thiserror::Error;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// A download that did not happen.
#[derive(Debug, Error)]
pub enum HubError {
    /// This binary has no Hub client.
    #[error("cannot fetch `{id}`: this build has no Hub client")]
    NotBuilt {
        /// The repository.
        id: String,
    },
    /// No `owner/name[@revision]`.
    #[error("`{id}`: expected `owner/name` or `owner/name@revision`: {reason}")]
    BadId {
        /// As written.
        id: String,
        /// What is wrong.
        reason: String,
    },
    /// A token that cannot be sent; never shown.
    #[error(
        "the token for `{id}` is malformed: it holds a space, a control character or a letter outside ASCII"
    )]
    BadToken {
        /// The repository.
        id: String,
    },
    /// 401 or 403: the token is missing, wrong, or lacks access.
    #[error("access to `{id}` denied ({status}){}", words(.message.as_ref()))]
    Denied {
        /// The repository.
        id: String,
        /// HTTP status.
        status: u16,
        /// Whether a token was given in the options.
        token_given: bool,
        /// Access must be asked for on the page of the repository.
        gated: bool,
        /// The Hub's own words.
        message: Option<String>,
    },
    /// No such repository, or a private one seen without a token.
    #[error("the Hub has no {kind} `{id}`")]
    RepoNotFound {
        /// The repository.
        id: String,
        /// `model` or `data set`.
        kind: String,
    },
    /// The repository has no such branch, tag or commit.
    #[error("`{id}` has no revision `{revision}`")]
    RevisionNotFound {
        /// The repository.
        id: String,
        /// The revision asked for.
        revision: String,
    },
    /// The repository has no such file.
    #[error("`{id}` has no file `{file}`")]
    FileNotFound {
        /// The repository.
        id: String,
        /// The file asked for.
        file: String,
        /// The nearest file there.
        nearest: Option<String>,
    },
    /// A model repository with weights in other forms only.
    #[error("`{id}` has neither `model.safetensors` nor `pytorch_model.bin`, and no index of shards of either{}", found(.others))]
    NoWeights {
        /// The repository.
        id: String,
        /// Weight files of other kinds.
        others: Vec<String>,
    },
    /// Offline, and the cache does not hold what is needed.
    #[error("`{id}` is not in the cache `{cache}`: {missing}")]
    OfflineMiss {
        /// The repository.
        id: String,
        /// The cache folder.
        cache: PathBuf,
        /// What is missing: the repository, the revision or a file.
        missing: String,
    },
    /// No connection.
    #[error("cannot reach the Hub for `{id}`")]
    Unreachable {
        /// The repository.
        id: String,
        /// A complete copy lies in the cache.
        cached: bool,
        /// Why.
        #[source]
        source: Cause,
    },
    /// The transfer broke off and further attempts did too; what arrived is kept.
    #[error("`{file}` of `{id}` was cut at {received} of {size} bytes")]
    Cut {
        /// The repository.
        id: String,
        /// The file.
        file: String,
        /// Bytes on disk.
        received: u64,
        /// Bytes of the whole file.
        size: u64,
        /// The last failure.
        #[source]
        source: Cause,
    },
    /// The bytes that arrived are not those announced; they were deleted.
    #[error("`{file}` of `{id}` has sha256 {found}, expected {expected}")]
    Corrupt {
        /// The repository.
        id: String,
        /// The file.
        file: String,
        /// Hash the Hub announced.
        expected: String,
        /// Hash of what arrived.
        found: String,
    },
    /// Too many requests.
    #[error("the Hub refuses further requests for `{id}` for now")]
    RateLimited {
        /// The repository.
        id: String,
        /// How long to wait, where the Hub says.
        retry_after: Option<Duration>,
    },
    /// Any other response that is no success.
    #[error("the Hub responded {status} for `{id}`{}", words(.message.as_ref()))]
    Server {
        /// The repository.
        id: String,
        /// HTTP status.
        status: u16,
        /// The Hub's own words.
        message: Option<String>,
    },
    /// A response that cannot be used.
    #[error("cannot use the Hub's response for `{id}`")]
    Protocol {
        /// The repository.
        id: String,
        /// Why.
        #[source]
        source: Cause,
    },
    /// The cache folder cannot be read or written.
    #[error("cannot write to the cache at `{path}`")]
    Disk {
        /// File or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl HubError {
    /// The cache cannot be written at all: no permission, or a read-only file system.
    #[cfg(feature = "hub")]
    pub(super) fn is_unwritable(&self) -> bool {
        use std::io::ErrorKind;
        matches!(self, Self::Disk { source, .. } if matches!(
            source.kind(),
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem | ErrorKind::NotADirectory
        ))
    }

    /// What the user may do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NotBuilt { .. } => "build with the cargo feature `hub`, or name a local folder",
            Self::BadToken { .. } => "set HF_TOKEN to the token alone, without quotes or blanks",
            Self::Denied {
                gated: true,
                token_given: true,
                ..
            } => "ask for access on the repository's page, as the owner of the token that was sent",
            Self::Denied { gated: true, .. } => {
                "ask for access on the repository's page, then set HF_TOKEN"
            }
            Self::Denied {
                token_given: false, ..
            } => "set HF_TOKEN to a token with read access",
            Self::Denied { .. } => "check that the token is valid and may read this repository",
            Self::RepoNotFound { .. } => {
                "check the spelling; a private repository needs HF_TOKEN; a local folder must exist"
            }
            Self::FileNotFound {
                nearest: Some(name),
                ..
            } => {
                return Some(closest_name(name));
            }
            Self::NoWeights { .. } => {
                "convert it: `AutoModel.from_pretrained(x).save_pretrained(folder)`"
            }
            Self::OfflineMiss { .. } => "run once without `--offline` and HF_HUB_OFFLINE",
            Self::Unreachable { cached: true, .. } => {
                "the cache holds it: run again with `--offline`"
            }
            Self::Cut { .. } => "run again: it continues where it stopped",
            Self::Corrupt { .. } => "run again: the file is fetched anew",
            Self::RateLimited {
                retry_after: Some(wait),
                ..
            } => {
                return Some(format!("try again in {} s", wait.as_secs()));
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

fn words(text: Option<&String>) -> String {
    text.map_or_else(String::new, |text| format!(": {text}"))
}

fn found(others: &[String]) -> String {
    match others {
        [] => String::new(),
        others => format!(", only `{}`", others.join("`, `")),
    }
}
