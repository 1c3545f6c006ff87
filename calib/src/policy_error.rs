//! Why a policy of attention cannot attend.

use thiserror::Error;

/// A policy that cannot attend.
#[derive(Debug, Error)]
#[error("block {block}: {source}")]
pub struct PolicyError {
    /// Number of the block.
    pub block: usize,
    /// Why.
    pub source: Box<dyn std::error::Error + Send + Sync>,
}
