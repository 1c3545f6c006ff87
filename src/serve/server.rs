//! What every request shares.

use super::api_key::ApiKey;
use super::metrics::Metrics;
use super::served::Served;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// A running server.
pub(super) struct Server {
    pub(super) served: Served,
    pub(super) key: Option<ApiKey>,
    pub(super) metrics: Metrics,
    /// When it began, in seconds since 1970.
    pub(super) created: u64,
    /// Set when texts are not to be finished any more.
    pub(super) is_over: AtomicBool,
    answers: AtomicU64,
}

impl Server {
    pub(super) fn new(served: Served, key: Option<&str>) -> Self {
        Self {
            served,
            key: key.map(ApiKey::new),
            metrics: Metrics::default(),
            created: now(),
            is_over: AtomicBool::new(false),
            answers: AtomicU64::new(0),
        }
    }

    /// A name for the next answer, and the time of it.
    pub(super) fn next_answer(&self, kind: &str) -> (String, u64) {
        let number = self.answers.fetch_add(1, Ordering::Relaxed);
        (format!("{kind}-{:x}-{number:x}", self.created), now())
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
