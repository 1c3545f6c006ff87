//! The cache folder: `<kind>--<owner>--<name>/{blobs,refs,snapshots}`, shared with other tools.

use super::files::is_safe;
use super::{HubError, RepoId, RepoType};
use std::path::{Path, PathBuf};

/// The part of the cache that holds one repository.
#[derive(Debug, Clone)]
pub(super) struct RepoCache {
    root: PathBuf,
    folder: String,
}

impl RepoCache {
    pub(super) fn new(root: PathBuf, kind: RepoType, id: &RepoId) -> Self {
        let folder = format!("{}--{}--{}", kind.plural(), id.owner(), id.name());
        Self { root, folder }
    }

    /// The whole cache.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    fn repo(&self) -> PathBuf {
        self.root.join(&self.folder)
    }

    /// Where the contents named `etag` lie.
    pub(super) fn blob(&self, etag: &str) -> PathBuf {
        self.repo().join("blobs").join(etag)
    }

    /// The lock other tools take before they write that content.
    pub(super) fn lock(&self, etag: &str) -> PathBuf {
        self.root
            .join(".locks")
            .join(&self.folder)
            .join(format!("{etag}.lock"))
    }

    /// The files of a commit.
    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        self.repo().join("snapshots").join(commit)
    }

    /// The commit a revision stood for when it was last fetched.
    pub(super) fn commit(&self, revision: &str) -> Option<String> {
        if is_commit(revision) {
            return Some(revision.to_owned());
        }
        let text = fs_err::read_to_string(self.repo().join("refs").join(revision)).ok()?;
        let commit = text.trim();
        is_safe(commit).then(|| commit.to_owned())
    }

    /// Notes the commit of a branch or tag. In a cache that can only be read the note is left out: the files
    /// are there all the same.
    pub(super) fn write_commit(&self, revision: &str, commit: &str) -> Result<(), HubError> {
        if is_commit(revision) || self.commit(revision).as_deref() == Some(commit) {
            return Ok(());
        }
        let path = self.repo().join("refs").join(revision);
        let written = create_parent(&path).and_then(|()| {
            fs_err::write(&path, commit).map_err(|source| HubError::Disk { path, source })
        });
        match written {
            Err(error) if error.is_unwritable() => Ok(()),
            other => other,
        }
    }

    /// Paths of all files of a snapshot, relative to it, sorted; empty where there is none.
    pub(super) fn snapshot_files(&self, commit: &str) -> Vec<String> {
        let root = self.snapshot(commit);
        let (mut files, mut folders) = (Vec::new(), vec![root.clone()]);
        while let Some(folder) = folders.pop() {
            for entry in fs_err::read_dir(&folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.exists()
                    && let Some(name) = path.strip_prefix(&root).ok().and_then(Path::to_str)
                {
                    files.push(name.replace('\\', "/"));
                }
            }
        }
        files.sort();
        files
    }
}

/// Makes the folder a file will lie in.
pub(super) fn create_parent(path: &Path) -> Result<(), HubError> {
    let folder = path.parent().unwrap_or(path);
    fs_err::create_dir_all(folder).map_err(|source| HubError::Disk {
        path: folder.to_owned(),
        source,
    })
}

fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit())
}
