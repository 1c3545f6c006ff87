//! The folder for statistics that are kept and for scratch files.

use crate::progress::Progress;
use calib::hub::expanded;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Where it is, and what there is to say of it.
struct Found {
    folder: PathBuf,
    note: Option<String>,
}

static FOUND: OnceLock<Found> = OnceLock::new();
static SAID: AtomicBool = AtomicBool::new(false);

/// The folder, which exists and can be written unless no folder can; says once in a note where that is not
/// the one asked for.
pub(crate) fn folder(progress: &Progress) -> &'static Path {
    let found = FOUND.get_or_init(|| usable(wanted(), &std::env::temp_dir()));
    if let Some(note) = &found.note
        && !SAID.swap(true, Ordering::Relaxed)
    {
        progress.say(note);
    }
    &found.folder
}

/// `QUENCH_CACHE`, else `quench` in the user's cache folder, else in the folder for temporary files.
fn wanted() -> PathBuf {
    let under = |name: &str, rest: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(|value| expanded(&value).join(rest))
    };
    under("QUENCH_CACHE", "statistics")
        .or_else(|| under("XDG_CACHE_HOME", "quench/statistics"))
        .or_else(|| under("HOME", ".cache/quench/statistics"))
        .unwrap_or_else(|| std::env::temp_dir().join("quench/statistics"))
}

/// `wanted` where it can be written, else a folder of `temporary`.
fn usable(wanted: PathBuf, temporary: &Path) -> Found {
    let Err(error) = can_be_written(&wanted) else {
        return Found {
            folder: wanted,
            note: None,
        };
    };
    let folder = temporary.join("quench/statistics");
    let note = format!(
        "the cache folder `{}` cannot be written ({}): using `{}`",
        wanted.display(),
        reason(&error),
        folder.display()
    );
    Found {
        folder,
        note: Some(note),
    }
}

fn can_be_written(folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    tempfile::tempfile_in(folder).map(drop)
}

/// What the system says, without the path that is named already.
fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code).to_string(),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_that_cannot_be_written_gives_way_to_a_temporary_folder_and_says_so() {
        let here = tempfile::tempdir().unwrap();
        let good = usable(here.path().join("a/b"), &here.path().join("t"));
        assert!(good.note.is_none() && good.folder == here.path().join("a/b"));
        let file = here.path().join("file");
        fs_err::write(&file, "x").unwrap();
        let other = usable(file.join("statistics"), &here.path().join("t"));
        assert_eq!(other.folder, here.path().join("t/quench/statistics"));
        let note = other.note.unwrap();
        assert!(
            note.contains("cannot be written (Not a directory"),
            "{note}"
        );
    }
}
