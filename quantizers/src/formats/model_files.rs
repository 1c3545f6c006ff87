//! Files that make a folder a model: found, removed, and written so that they last.

use super::FormatError;
use super::containers::{INDEX_FILE, SINGLE_FILE};
use super::spool::Shard;
use super::tensor_folder::PROGRAM_FILE;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;

/// `model.safetensors.index.json`.
pub(super) fn index(shards: &[Shard]) -> Vec<u8> {
    let pairs = shards.iter().flat_map(|shard| {
        shard
            .tensors
            .iter()
            .map(|tensor| (tensor.name.as_str(), shard.name.as_str()))
    });
    let weight_map: BTreeMap<&str, &str> = pairs.collect();
    let tensors = shards.iter().flat_map(|shard| &shard.tensors);
    let total_size: u64 = tensors.map(|tensor| tensor.bytes).sum();
    let index = json!({ "metadata": { "total_size": total_size }, "weight_map": weight_map });
    format!("{index:#}\n").into_bytes()
}

/// Weights, their index, an integer program and the configuration: what makes a folder a model.
pub(super) fn is_model_file(name: &str) -> bool {
    let weights = name.starts_with("model") && name.ends_with(".safetensors");
    ["config.json", SINGLE_FILE, INDEX_FILE, PROGRAM_FILE].contains(&name) || weights
}

pub(super) fn file_names(folder: &Path) -> Result<Vec<String>, FormatError> {
    let io = |source| FormatError::io("read", folder, source);
    let mut names = Vec::new();
    for entry in fs_err::read_dir(folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        if entry.path().is_file() {
            names.extend(entry.file_name().into_string());
        }
    }
    // The configuration first: without it a folder is no model.
    names.sort_by_key(|name| (name != "config.json", name.clone()));
    Ok(names)
}

pub(super) fn remove(path: &Path) -> Result<(), FormatError> {
    fs_err::remove_file(path).map_err(|source| FormatError::io("remove", path, source))
}

pub(super) fn write_synced(path: &Path, content: &[u8]) -> Result<(), FormatError> {
    let write = || {
        let mut file = fs_err::File::create(path)?;
        std::io::Write::write_all(&mut file, content)?;
        file.sync_all()
    };
    write().map_err(|source| FormatError::io("write", path, source))
}

/// Makes the renames last. Only Unix can open a folder for that.
pub(super) fn sync_folder(folder: &Path) -> Result<(), FormatError> {
    if cfg!(unix) {
        let synced = fs_err::File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(|source| FormatError::io("write", folder, source))?;
    }
    Ok(())
}
