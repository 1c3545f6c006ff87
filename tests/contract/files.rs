//! Source files stay small and are named by what they are about.

use std::path::{Path, PathBuf};

/// Most lines of one source file.
const MOST_LINES: usize = 400;

/// Names that say nothing about the domain.
const VAGUE: [&str; 5] = ["utils", "util", "common", "helpers", "misc"];

pub(crate) fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs_err::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

fn workspace() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for member in ["src", "quantizers", "calib", "eval", "tests"] {
        sources(&root.join(member), &mut found);
    }
    found.sort();
    assert!(found.len() > 50, "the workspace is found");
    found
}

#[test]
fn every_source_file_has_at_most_400_lines() {
    let long: Vec<String> = workspace()
        .into_iter()
        .filter_map(|path| {
            let lines = fs_err::read_to_string(&path).unwrap().lines().count();
            (lines > MOST_LINES).then(|| format!("{}: {lines} lines", path.display()))
        })
        .collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn no_source_file_has_a_vague_name() {
    for path in workspace() {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        assert!(!VAGUE.contains(&name.as_str()), "{}", path.display());
    }
}
