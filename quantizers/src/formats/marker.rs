//! The file by which quench knows a folder it wrote, and the files in it that may be replaced.
//!
//! It is made before anything else in a new folder, so that what an interrupted run left is known too.

use super::FormatError;
use super::model_files::{file_names, is_model_file};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Name of the file.
pub const MARKER_FILE: &str = ".quench-written";

const HEAD: &str = "quench wrote this folder and may replace the files listed here when told to.\n";

/// Marks `folder` as written by quench, with `files` (relative to it) beside those listed already.
///
/// # Errors
/// A folder that cannot be written.
pub fn mark<'a>(
    folder: &Path,
    files: impl IntoIterator<Item = &'a Path>,
) -> Result<(), FormatError> {
    let path = folder.join(MARKER_FILE);
    let mut all = listed(folder).unwrap_or_default();
    all.extend(files.into_iter().map(Path::to_path_buf));
    let mut text = HEAD.to_owned();
    for file in all {
        text.push_str(&file.to_string_lossy());
        text.push('\n');
    }
    let partial = super::shard::partial(&path);
    fs_err::write(&partial, text)
        .and_then(|()| fs_err::rename(&partial, &path))
        .map_err(|source| FormatError::io("write", path, source))
}

/// Whether quench wrote `folder`, finished or not.
pub fn is_marked(folder: &Path) -> bool {
    folder.join(MARKER_FILE).is_file()
}

/// A weight, index, program or configuration file of `folder` that quench did not write.
///
/// # Errors
/// A folder that cannot be read.
pub fn foreign_model_file(folder: &Path) -> Result<Option<String>, FormatError> {
    let ours = listed(folder).unwrap_or_default();
    let names = file_names(folder)?.into_iter();
    let mut foreign =
        names.filter(|name| is_model_file(name) && !ours.contains(Path::new(name.as_str())));
    Ok(foreign.next())
}

/// The files a marker lists; nothing where there is none.
fn listed(folder: &Path) -> Option<BTreeSet<PathBuf>> {
    let text = fs_err::read_to_string(folder.join(MARKER_FILE)).ok()?;
    Some(text.lines().skip(1).map(PathBuf::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_written_in_several_runs_are_listed_once_and_others_are_foreign() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!is_marked(dir.path()));
        mark(dir.path(), [Path::new("model.safetensors")]).unwrap();
        mark(
            dir.path(),
            ["config.json", "model.safetensors"].map(Path::new),
        )
        .unwrap();
        assert!(is_marked(dir.path()));
        assert_eq!(listed(dir.path()).unwrap().len(), 2);
        fs_err::write(dir.path().join("config.json"), "{}").unwrap();
        fs_err::write(dir.path().join("notes.txt"), "mine").unwrap();
        assert_eq!(foreign_model_file(dir.path()).unwrap(), None);
        fs_err::write(dir.path().join("model-theirs.safetensors"), "x").unwrap();
        assert_eq!(
            foreign_model_file(dir.path()).unwrap().as_deref(),
            Some("model-theirs.safetensors")
        );
    }
}
