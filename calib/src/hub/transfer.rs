//! One file into the cache, continued where an earlier transfer was cut.
//!
//! The client's own download starts a cut file anew and keeps whatever body arrives, so contents
//! are fetched here in ranges and appended to a partial file. A finished one is named by its own
//! hash, the name the Hub gives it too: linking it into the snapshot is left to the client, which
//! compares names. Where ranges do not work, the client fetches the file in its own way.

use super::cache::{RepoCache, create_parent};
use super::client::{Question, may_pass};
use super::files::is_safe;
use super::{FetchOptions, HubError, HubEvent, HubProgress};
use fs_err::{File, OpenOptions};
use hf_hub::repository::RepoTreeEntry;
use hf_hub::{HFError, HFRepositorySync, RepoType};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::ops::Deref;
use std::path::{Path, PathBuf};

/// A file as the Hub lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Path in the repository.
    pub(super) path: String,
    /// Bytes.
    pub(super) size: u64,
    /// Git's name for the content; for large files, for the pointer to it.
    oid: String,
    /// Stored as a large file, whose content is named by its sha256.
    large: bool,
}

/// Files of one commit on their way into the cache.
#[derive(Clone, Copy)]
pub(super) struct Transfer<'a, T: RepoType> {
    pub(super) repo: &'a HFRepositorySync<T>,
    pub(super) question: Question<'a>,
    pub(super) cache: &'a RepoCache,
    pub(super) commit: &'a str,
    pub(super) options: &'a FetchOptions,
    pub(super) progress: &'a dyn HubProgress,
}

impl<T: RepoType> Transfer<'_, T> {
    /// Every file of the commit.
    pub(super) fn list(&self) -> Result<Vec<Entry>, HubError> {
        let tree = self
            .repo
            .list_tree()
            .revision(self.commit)
            .recursive(true)
            .send();
        let tree = tree.map_err(|error| self.question.explain(error))?;
        Ok(tree.into_iter().filter_map(entry).collect())
    }

    /// One file of the commit, if it is there.
    pub(super) fn entry(&self, file: &str) -> Result<Option<Entry>, HubError> {
        let request = self.repo.get_paths_info().paths(vec![file.to_owned()]);
        let found = request.revision(self.commit).send();
        let found = found.map_err(|error| self.question.explain(error))?;
        Ok(found
            .into_iter()
            .filter_map(entry)
            .find(|entry| entry.path == file))
    }

    /// Brings `entry` into the snapshot and returns its path there.
    pub(super) fn fetch(&self, entry: &Entry) -> Result<PathBuf, HubError> {
        let pointer = self.cache.snapshot(self.commit).join(&entry.path);
        let (file, size) = (entry.path.as_str(), entry.size);
        if pointer.exists() {
            self.progress.event(HubEvent::Advanced {
                file,
                done: size,
                size,
            });
            return Ok(pointer);
        }
        let blob = match self.fetch_content(entry) {
            Ok(blob) => Some(blob),
            Err(error @ (HubError::Cut { .. } | HubError::Disk { .. })) => return Err(error),
            Err(_) => None,
        };
        let linked = self
            .repo
            .download_file()
            .filename(file)
            .revision(self.commit)
            .send()
            .map_err(|error| {
                Question {
                    file: Some(file),
                    ..self.question
                }
                .explain(error)
            })?;
        self.progress.event(HubEvent::Advanced {
            file,
            done: size,
            size,
        });
        self.check(entry, &linked, blob.as_deref())?;
        Ok(linked)
    }

    /// Makes sure of content the client fetched in its own way.
    fn check(&self, entry: &Entry, linked: &Path, ours: Option<&Path>) -> Result<(), HubError> {
        let disk = |source| HubError::Disk {
            path: linked.to_owned(),
            source,
        };
        let target = fs_err::canonicalize(linked).map_err(disk)?;
        if let Some(ours) = ours {
            if fs_err::canonicalize(ours).is_ok_and(|ours| ours == target) {
                return Ok(());
            }
            // Its name is not the Hub's: the transfer did not give the right bytes.
            fs_err::remove_file(ours).map_err(disk)?;
        }
        let expected = target
            .file_name()
            .map(|name| name.to_string_lossy().to_lowercase());
        let Some(expected) = expected.filter(|name| entry.large && name.len() == 64) else {
            return Ok(());
        };
        let found = sha256(&target).map_err(disk)?;
        if found == expected {
            return Ok(());
        }
        fs_err::remove_file(linked)
            .and_then(|()| fs_err::remove_file(&target))
            .map_err(disk)?;
        let (id, file) = (self.question.id.path(), entry.path.clone());
        Err(HubError::Corrupt {
            id,
            file,
            expected,
            found,
        })
    }

    /// Fetches the content and names it by its hash.
    fn fetch_content(&self, entry: &Entry) -> Result<PathBuf, HubError> {
        let partial = self.cache.blob(&format!("{}.partial", entry.oid));
        let lock = self.cache.lock(&entry.oid);
        create_parent(&partial)?;
        create_parent(&lock)?;
        let disk = |source| HubError::Disk {
            path: partial.clone(),
            source,
        };
        // Held until this function returns; another process may be at the same file.
        let lock = File::create(&lock).map_err(disk)?;
        lock.file().lock().map_err(disk)?;
        if !entry.large && self.cache.blob(&entry.oid).exists() {
            return Ok(self.cache.blob(&entry.oid));
        }
        let mut output = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&partial)
            .map_err(disk)?;
        let mut done = output.metadata().map_err(disk)?.len();
        if done > entry.size {
            output.set_len(0).map_err(disk)?;
            done = 0;
        }
        self.append(entry, &mut output, done, &partial)?;
        output.sync_all().map_err(disk)?;
        let name = if entry.large {
            sha256(&partial).map_err(disk)?
        } else {
            entry.oid.clone()
        };
        let blob = self.cache.blob(&name);
        fs_err::rename(&partial, &blob).map_err(disk)?;
        Ok(blob)
    }

    /// Appends everything from `done` on.
    fn append(
        &self,
        entry: &Entry,
        output: &mut File,
        mut done: u64,
        partial: &Path,
    ) -> Result<(), HubError> {
        let (file, size) = (entry.path.as_str(), entry.size);
        let delay = self.options.retry_delay;
        let mut delays = (0..self.options.retries).map(|n| delay * (1 << n.min(6)));
        self.progress.event(HubEvent::Advanced { file, done, size });
        while done < size {
            let end = size.min(done + self.options.chunk_bytes.max(1));
            let error = match self.range(file, done, end, size) {
                Ok(bytes) => {
                    let disk = |source| HubError::Disk {
                        path: partial.to_owned(),
                        source,
                    };
                    output.write_all(&bytes).map_err(disk)?;
                    done += bytes.len() as u64;
                    self.progress.event(HubEvent::Advanced { file, done, size });
                    continue;
                }
                Err(error) => error,
            };
            if !may_pass(&error) {
                return Err(Question {
                    file: Some(file),
                    ..self.question
                }
                .explain(error));
            }
            let Some(delay) = delays.next() else {
                return Err(HubError::Cut {
                    id: self.question.id.path(),
                    file: file.to_owned(),
                    received: done,
                    size,
                    source: Box::new(error),
                });
            };
            std::thread::sleep(delay);
        }
        Ok(())
    }

    /// Bytes `start..end` of `file`.
    fn range(
        &self,
        file: &str,
        start: u64,
        end: u64,
        size: u64,
    ) -> Result<impl Deref<Target = [u8]> + use<T>, HFError> {
        let request = self
            .repo
            .download_file_to_bytes()
            .filename(file)
            .revision(self.commit);
        let bytes = request.range(start..end).send()?;
        let found = bytes.len() as u64;
        if found == end - start {
            return Ok(bytes);
        }
        // A server without ranges sends everything, whatever was asked for.
        match usize::try_from(start) {
            Ok(skipped) if found == size => Ok(bytes.slice(skipped..)),
            _ => Err(HFError::Other(format!(
                "expected bytes {start} to {end} of `{file}`, found {found} bytes"
            ))),
        }
    }
}

/// Files whose names can be joined to a folder; everything else is left out.
fn entry(listed: RepoTreeEntry) -> Option<Entry> {
    match listed {
        RepoTreeEntry::File {
            oid,
            size,
            path,
            lfs,
            ..
        } if is_safe(&path) && is_safe(&oid) && !oid.contains('/') => Some(Entry {
            path,
            size,
            oid,
            large: lfs.is_some(),
        }),
        _ => None,
    }
}

fn sha256(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
    }
    let mut text = String::with_capacity(64);
    for byte in hasher.finalize() {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}
