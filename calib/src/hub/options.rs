//! How to reach the Hub, and the receiver of download progress.

use std::path::PathBuf;
use std::time::Duration;

/// Settings of a download.
#[derive(Debug, Clone)]
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
    /// The defaults, offline where `HF_HUB_OFFLINE` says so (the client itself does not read it).
    pub fn from_environment() -> Self {
        let value = std::env::var("HF_HUB_OFFLINE").unwrap_or_default();
        Self {
            offline: is_true(&value),
            ..Self::default()
        }
    }
}

/// What the Hub's other tools take as true.
fn is_true(value: &str) -> bool {
    ["1", "ON", "YES", "TRUE"].contains(&value.trim().to_uppercase().as_str())
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

#[cfg(test)]
mod tests {
    use super::is_true;

    #[test]
    fn offline_is_read_as_other_tools_do() {
        assert!(["1", "true", "Yes", "ON"].into_iter().all(is_true));
        assert!(!["", "0", "false", "off", "2"].into_iter().any(is_true));
    }
}
