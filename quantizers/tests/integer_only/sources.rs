//! No source outside `integer/compile/` names a float.

use std::path::{Path, PathBuf};

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if !path.ends_with("integer/compile") {
                sources(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Code of a line, comment cut off.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

/// `1_f64` and the like.
fn literal_of(token: &str) -> bool {
    token.starts_with(|c: char| c.is_ascii_digit())
        && (token.ends_with("f32") || token.ends_with("f64"))
}

/// Names of float types, and literals with a fraction or exponent.
fn names_a_float(line: &str) -> bool {
    let code = code(line);
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let types = code
        .split(|c| !word(c))
        .any(|token| ["f16", "f32", "f64", "bf16"].contains(&token) || literal_of(token));
    let bytes = code.as_bytes();
    let literal = bytes
        .windows(3)
        .any(|three| three[0].is_ascii_digit() && three[1] == b'.' && three[2].is_ascii_digit());
    // Text in quotes may hold version numbers or the like.
    types || (literal && !code.contains('"'))
}

#[test]
fn no_source_of_the_executor_names_a_float() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/integer");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 60, "{} files", files.len());
    let mut found = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for (at, line) in text.lines().enumerate() {
            if names_a_float(line) {
                found.push(format!("{}:{}: {line}", file.display(), at + 1));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_search_finds_what_it_looks_for() {
    for line in ["let x: f32 = y;", "x as f64", "1.5 * x", "1_f64"] {
        assert!(names_a_float(line), "{line}");
    }
    for line in ["// f32 in words", "half32", "0..2", "tuple.1"] {
        assert!(!names_a_float(line), "{line}");
    }
}
