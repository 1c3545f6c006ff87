//! Whole models and single data files.

use super::{FetchOptions, HubError, HubProgress, RepoId, RepoType};
use std::path::PathBuf;

/// A checkpoint in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The folder that looks like a model folder.
    pub folder: PathBuf,
    /// The commit its files are of.
    pub commit: String,
}

/// Brings the files of a model that are needed into the cache: configuration, tokenizer,
/// weights and what is copied through to an artifact.
///
/// # Errors
/// See [`HubError`].
pub fn fetch_model(
    id: &RepoId,
    options: &FetchOptions,
    progress: &dyn HubProgress,
) -> Result<Snapshot, HubError> {
    backend::fetch_model(id, options, progress)
}

/// Brings one file into the cache and returns its path there.
///
/// # Errors
/// See [`HubError`].
pub fn fetch_file(
    id: &RepoId,
    kind: RepoType,
    file: &str,
    options: &FetchOptions,
    progress: &dyn HubProgress,
) -> Result<PathBuf, HubError> {
    backend::fetch_file(id, kind, file, options, progress)
}

#[cfg(feature = "hub")]
use super::repository as backend;

#[cfg(not(feature = "hub"))]
mod backend {
    use super::{FetchOptions, HubError, HubProgress, PathBuf, RepoId, RepoType, Snapshot};

    pub(super) fn fetch_model(
        id: &RepoId,
        _options: &FetchOptions,
        _progress: &dyn HubProgress,
    ) -> Result<Snapshot, HubError> {
        Err(HubError::NotBuilt { id: id.path() })
    }

    pub(super) fn fetch_file(
        id: &RepoId,
        _kind: RepoType,
        _file: &str,
        _options: &FetchOptions,
        _progress: &dyn HubProgress,
    ) -> Result<PathBuf, HubError> {
        Err(HubError::NotBuilt { id: id.path() })
    }
}
