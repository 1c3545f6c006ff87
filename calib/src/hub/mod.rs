//! Models and data files from the Hugging Face Hub, into the cache other tools share.
//!
//! Everything public here exists with or without the cargo feature `hub`; without it, fetching is an
//! error that says so.

mod id;
mod environment;
mod error;
mod options;
mod fetch;
#[cfg(feature = "hub")]
mod files;
#[cfg(feature = "hub")]
mod cache;
#[cfg(feature = "hub")]
mod client;
#[cfg(feature = "hub")]
mod transfer;
#[cfg(feature = "hub")]
mod repository;

pub use environment::expanded;
pub use error::HubError;
pub use fetch::{Snapshot, fetch_file, fetch_model};
pub use id::{RepoId, RepoType};
pub use options::{FetchOptions, HubEvent, HubProgress, Silent};
