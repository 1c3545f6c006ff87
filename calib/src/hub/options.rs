//! How to reach the Hub, and the receiver of download progress.

use super::environment;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Settings of a download.
#[derive(Clone)]
pub struct FetchOptions {
    /// Access token; the client's own rules (`HF_TOKEN`, the token file) where absent.
    pub token: Option<String>,
    /// Cache folder; the client's own rules (`HF_HUB_CACHE`, `HF_HOME`) where absent.
    pub cache_folder: Option<PathBuf>,
    /// Address of the Hub; the client's own rules (`HF_ENDPOINT`) where absent.
    pub endpoint: Option<String>,
    /// Look only in the cache.
    pub offline: bool,
    /// Further attempts after a failed request.
    pub retries: usize,
    /// Wait before the first further attempt; doubles with each.
    pub retry_delay: Duration,
    /// Bytes of one request; a cut transfer continues at the last whole one.
    pub chunk_bytes: u64,
}

impl fmt::Debug for FetchOptions {
    /// Without the token: what is printed ends in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FetchOptions")
            .field("token_given", &self.token.is_some())
            .field("cache_folder", &self.cache_folder)
            .field("endpoint", &self.endpoint)
            .field("offline", &self.offline)
            .field("retries", &self.retries)
            .field("retry_delay", &self.retry_delay)
            .field("chunk_bytes", &self.chunk_bytes)
            .finish()
    }
}

impl Default for FetchOptions {
    fn default() -> Self {
        Self {
            token: None,
            cache_folder: None,
            endpoint: None,
            offline: false,
            retries: 4,
            retry_delay: Duration::from_millis(250),
            chunk_bytes: 32 << 20,
        }
    }
}

impl FetchOptions {
    /// As the environment says: offline by `HF_HUB_OFFLINE`, the token by `HF_TOKEN` or its file, the cache by
    /// `HF_HUB_CACHE` or `HF_HOME`. The client itself takes these as they are, unexpanded and untrimmed.
    pub fn from_environment() -> Self {
        let value = std::env::var("HF_HUB_OFFLINE").unwrap_or_default();
        Self {
            token: environment::token(),
            cache_folder: environment::cache_folder(),
            offline: environment::is_true(&value),
            ..Self::default()
        }
    }
}

/// One step of a download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HubEvent<'a> {
    /// What there is to do is known.
    Started {
        /// Files to transfer.
        files: usize,
        /// Bytes of all of them.
        bytes: u64,
    },
    /// More of one file is on disk; the first event of a resumed file starts above zero.
    Advanced {
        /// Path in the repository.
        file: &'a str,
        /// Bytes on disk.
        done: u64,
        /// Bytes of the file.
        size: u64,
    },
    /// Everything is on disk.
    Finished,
    /// Something to know of the way it goes.
    Note {
        /// One line.
        text: &'a str,
    },
}

/// Watches a download; called from several threads.
pub trait HubProgress: Sync {
    /// Sees one step.
    fn event(&self, event: HubEvent<'_>);
}

/// Watches nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl HubProgress for Silent {
    fn event(&self, _event: HubEvent<'_>) {}
}
