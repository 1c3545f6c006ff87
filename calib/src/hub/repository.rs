//! A repository as questions: which commit, which files, bring these.

use super::cache::RepoCache;
use super::client::{Question, open};
use super::files::{Weights, is_safe, side_files, weights};
use super::transfer::{Entry, Transfer};
use super::{FetchOptions, HubError, HubEvent, HubProgress, RepoId, RepoType, Snapshot};
use hf_hub::{HFRepositorySync, HFResult, RepoTypeDataset, RepoTypeModel};
use quantizers::nearest::nearest;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Files moved at a time.
const WORKERS: usize = 4;

/// The one request the client has per kind of repository.
trait Describe {
    /// The commit `revision` stands for.
    fn commit(&self, revision: &str) -> HFResult<Option<String>>;
}

impl Describe for HFRepositorySync<RepoTypeModel> {
    fn commit(&self, revision: &str) -> HFResult<Option<String>> {
        self.info().revision(revision).send().map(|info| info.sha)
    }
}

impl Describe for HFRepositorySync<RepoTypeDataset> {
    fn commit(&self, revision: &str) -> HFResult<Option<String>> {
        self.info().revision(revision).send().map(|info| info.sha)
    }
}

pub(super) fn fetch_model(
    id: &RepoId,
    options: &FetchOptions,
    progress: &dyn HubProgress,
) -> Result<Snapshot, HubError> {
    elsewhere_if_unwritable(options, progress, |options| {
        model_into_cache(id, options, progress)
    })
}

/// Runs `fetch`; again into a folder for temporary files where the cache turns out not to be writable.
fn elsewhere_if_unwritable<R>(
    options: &FetchOptions,
    progress: &dyn HubProgress,
    fetch: impl Fn(&FetchOptions) -> Result<R, HubError>,
) -> Result<R, HubError> {
    let error = match fetch(options) {
        Err(error) if error.is_unwritable() => error,
        other => return other,
    };
    let folder = std::env::temp_dir().join("quench/hub");
    let why = std::error::Error::source(&error).map_or_else(String::new, ToString::to_string);
    // The path is in the message already.
    let why = why.rsplit(": ").next().unwrap_or_default();
    let text = format!("{error} ({why}): downloading into `{}`", folder.display());
    progress.event(HubEvent::Note { text: &text });
    let options = FetchOptions {
        cache_folder: Some(folder),
        ..options.clone()
    };
    fetch(&options)
}

fn model_into_cache(
    id: &RepoId,
    options: &FetchOptions,
    progress: &dyn HubProgress,
) -> Result<Snapshot, HubError> {
    let (client, root) = open(id, options)?;
    let cache = RepoCache::new(root, RepoType::Model, id);
    if options.offline {
        return cached_model(id, &cache);
    }
    let repo = client.model(id.owner(), id.name());
    let question = question(id, RepoType::Model, options);
    let commit = match commit(&repo, question) {
        Err(HubError::Unreachable {
            id: path, source, ..
        }) => {
            let cached = cached_model(id, &cache).is_ok();
            return Err(HubError::Unreachable {
                id: path,
                cached,
                source,
            });
        }
        other => other?,
    };
    let transfer = Transfer {
        repo: &repo,
        question,
        cache: &cache,
        commit: &commit,
        options,
        progress,
    };
    let entries = transfer.list()?;
    let names: Vec<String> = entries.iter().map(|entry| entry.path.clone()).collect();
    let mut wanted: BTreeSet<String> = side_files(&names).into_iter().collect();
    need(id, &names, "config.json")?;
    match weights(&names) {
        Weights::Single(name) => {
            wanted.insert(name.to_owned());
        }
        Weights::Sharded(index) => {
            if let Some(entry) = entries.iter().find(|entry| entry.path == index) {
                transfer.fetch(entry)?;
            }
            for shard in shards(id, &cache.snapshot(&commit), index)? {
                need(id, &names, &shard)?;
                wanted.insert(shard);
            }
            wanted.insert(index.to_owned());
        }
        Weights::None(others) => {
            return Err(HubError::NoWeights {
                id: id.path(),
                others,
            });
        }
    }
    let wanted: Vec<&Entry> = entries
        .iter()
        .filter(|entry| wanted.contains(&entry.path))
        .collect();
    fetch_all(&transfer, &wanted)?;
    cache.write_commit(id.revision_or_main(), &commit)?;
    Ok(Snapshot {
        folder: cache.snapshot(&commit),
        commit,
    })
}

pub(super) fn fetch_file(
    id: &RepoId,
    kind: RepoType,
    file: &str,
    options: &FetchOptions,
    progress: &dyn HubProgress,
) -> Result<PathBuf, HubError> {
    elsewhere_if_unwritable(options, progress, |options| {
        file_into_cache(id, kind, file, options, progress)
    })
}

fn file_into_cache(
    id: &RepoId,
    kind: RepoType,
    file: &str,
    options: &FetchOptions,
    progress: &dyn HubProgress,
) -> Result<PathBuf, HubError> {
    let (client, root) = open(id, options)?;
    let cache = RepoCache::new(root, kind, id);
    if options.offline {
        let commit = cached_commit(id, &cache)?;
        let path = cache.snapshot(&commit).join(file);
        return if is_safe(file) && path.exists() {
            Ok(path)
        } else {
            Err(miss(id, &cache, file))
        };
    }
    let question = question(id, kind, options);
    match kind {
        RepoType::Model => {
            let repo = client.model(id.owner(), id.name());
            fetch_one(&repo, question, &cache, file, options, progress)
        }
        RepoType::Dataset => {
            let repo = client.dataset(id.owner(), id.name());
            fetch_one(&repo, question, &cache, file, options, progress)
        }
    }
}

fn fetch_one<T: hf_hub::RepoType>(
    repo: &HFRepositorySync<T>,
    question: Question<'_>,
    cache: &RepoCache,
    file: &str,
    options: &FetchOptions,
    progress: &dyn HubProgress,
) -> Result<PathBuf, HubError>
where
    HFRepositorySync<T>: Describe,
{
    let commit = commit(repo, question)?;
    let transfer = Transfer {
        repo,
        question,
        cache,
        commit: &commit,
        options,
        progress,
    };
    let Some(entry) = transfer.entry(file)? else {
        // Only to name the nearest: a list that cannot be had costs the hint.
        let names: Vec<String> = transfer
            .list()
            .unwrap_or_default()
            .into_iter()
            .map(|entry| entry.path)
            .collect();
        return Err(missing(question.id, &names, file));
    };
    fetch_all(&transfer, &[&entry])?;
    cache.write_commit(question.id.revision_or_main(), &commit)?;
    Ok(cache.snapshot(&commit).join(file))
}

fn question<'a>(id: &'a RepoId, kind: RepoType, options: &FetchOptions) -> Question<'a> {
    Question {
        id,
        kind,
        file: None,
        token_given: options.token.is_some(),
    }
}

fn commit<T: hf_hub::RepoType>(
    repo: &HFRepositorySync<T>,
    question: Question<'_>,
) -> Result<String, HubError>
where
    HFRepositorySync<T>: Describe,
{
    let commit = repo
        .commit(question.id.revision_or_main())
        .map_err(|error| question.explain(error))?;
    commit
        .filter(|commit| is_safe(commit))
        .ok_or_else(|| HubError::Protocol {
            id: question.id.path(),
            source: "the repository has no commit".into(),
        })
}

/// Fetches `entries` with a few workers; the error of the first of them that failed.
fn fetch_all<T: hf_hub::RepoType>(
    transfer: &Transfer<'_, T>,
    entries: &[&Entry],
) -> Result<(), HubError> {
    let bytes = entries.iter().map(|entry| entry.size).sum();
    transfer.progress.event(HubEvent::Started {
        files: entries.len(),
        bytes,
    });
    let next = std::sync::atomic::AtomicUsize::new(0);
    let mut results: Vec<(usize, Result<PathBuf, HubError>)> = std::thread::scope(|scope| {
        let worker = || {
            let mut done = Vec::new();
            loop {
                let index = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let Some(entry) = entries.get(index) else {
                    return done;
                };
                let result = transfer.fetch(entry);
                if result.is_err() {
                    // The others finish the file they are at and take no further one.
                    next.store(entries.len(), std::sync::atomic::Ordering::Relaxed);
                }
                done.push((index, result));
            }
        };
        let workers: Vec<_> = (0..WORKERS.min(entries.len()))
            .map(|_| scope.spawn(worker))
            .collect();
        let joined = workers.into_iter().map(|worker| {
            worker
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        joined.flatten().collect()
    });
    results.sort_by_key(|(index, _)| *index);
    results
        .into_iter()
        .try_for_each(|(_, result)| result.map(drop))?;
    transfer.progress.event(HubEvent::Finished);
    Ok(())
}

/// The snapshot of an earlier run, if it is whole.
fn cached_model(id: &RepoId, cache: &RepoCache) -> Result<Snapshot, HubError> {
    let commit = cached_commit(id, cache)?;
    let folder = cache.snapshot(&commit);
    let names = cache.snapshot_files(&commit);
    let have = |name: &str| names.iter().any(|present| present == name);
    let absent = |name: &str| miss(id, cache, name);
    if !have("config.json") {
        return Err(absent("config.json"));
    }
    match weights(&names) {
        Weights::Single(_) => {}
        Weights::Sharded(index) => {
            let shards = shards(id, &folder, index)?;
            if let Some(shard) = shards.iter().find(|shard| !have(shard)) {
                return Err(absent(shard));
            }
        }
        Weights::None(_) => return Err(absent("a file with its weights")),
    }
    Ok(Snapshot { folder, commit })
}

fn cached_commit(id: &RepoId, cache: &RepoCache) -> Result<String, HubError> {
    let revision = id.revision_or_main();
    let commit = cache
        .commit(revision)
        .filter(|commit| cache.snapshot(commit).is_dir());
    commit.ok_or_else(|| miss(id, cache, &format!("revision `{revision}`")))
}

fn miss(id: &RepoId, cache: &RepoCache, what: &str) -> HubError {
    let missing = format!("{what} is missing");
    HubError::OfflineMiss {
        id: id.path(),
        cache: cache.root().to_owned(),
        missing,
    }
}

fn need(id: &RepoId, names: &[String], file: &str) -> Result<(), HubError> {
    if is_safe(file) && names.iter().any(|name| name == file) {
        return Ok(());
    }
    Err(missing(id, names, file))
}

fn missing(id: &RepoId, names: &[String], file: &str) -> HubError {
    let nearest = nearest(file, names.iter().map(String::as_str));
    HubError::FileNotFound {
        id: id.path(),
        file: file.to_owned(),
        nearest,
    }
}

/// The files named by the shard index `index` of `folder`.
fn shards(id: &RepoId, folder: &Path, index: &str) -> Result<BTreeSet<String>, HubError> {
    let protocol = |source| HubError::Protocol {
        id: id.path(),
        source,
    };
    let path = folder.join(index);
    let bytes = fs_err::read(&path).map_err(|source| HubError::Disk { path, source })?;
    let json: serde_json::Value =
        serde_json::from_slice(&bytes).map_err(|error| protocol(Box::new(error)))?;
    let map = json["weight_map"]
        .as_object()
        .ok_or_else(|| protocol(format!("`{index}` has no `weight_map`").into()))?;
    Ok(map
        .values()
        .filter_map(|file| file.as_str().map(str::to_owned))
        .collect())
}
