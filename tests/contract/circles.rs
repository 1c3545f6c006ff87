//! No two source files of a crate need each other, directly or through others.
//!
//! A file needs another when one of its paths leads there: `use` declarations and paths that begin with
//! `crate`, `self`, `super` or a submodule, followed through re-exports to where the name is defined.
//! A re-export alone is no need, and neither is what only tests use; a module may name its own submodules,
//! which it lists anyway. Between crates, cargo sees to it.

mod arrows;
mod tokens;

use arrows::Arrows;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

/// Groups of files that all need each other.
fn circles(arrows: &Arrows) -> Vec<BTreeSet<&String>> {
    let reach: BTreeMap<&String, BTreeSet<&String>> = arrows
        .keys()
        .map(|start| {
            let (mut seen, mut open) = (BTreeSet::new(), vec![start]);
            while let Some(file) = open.pop() {
                for next in arrows.get(file).into_iter().flat_map(BTreeMap::keys) {
                    if seen.insert(next) {
                        open.push(next);
                    }
                }
            }
            (start, seen)
        })
        .collect();
    let mut found: Vec<BTreeSet<&String>> = Vec::new();
    for (file, reached) in &reach {
        if reached.contains(file) && !found.iter().any(|circle| circle.contains(file)) {
            let back = |other: &&&String| reach.get(**other).is_some_and(|r| r.contains(file));
            found.push(reached.iter().filter(back).copied().collect());
        }
    }
    found
}

fn describe(circle: &BTreeSet<&String>, arrows: &Arrows) -> String {
    let mut text = format!("{} files need each other:\n", circle.len());
    for from in circle {
        for (to, names) in &arrows[*from] {
            if circle.contains(to) {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                let _ = writeln!(text, "  {from} -> {to}: {}", names.join(", "));
            }
        }
    }
    text
}

#[test]
fn no_two_files_need_each_other() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = String::new();
    for (name, folder) in [
        ("quantizers", "quantizers/src"),
        ("calib", "calib/src"),
        ("eval", "eval/src"),
        ("quench", "src"),
    ] {
        let arrows = arrows::of_crate(root, name, folder);
        assert!(arrows.len() > 10, "the files of {name} are found");
        for circle in circles(&arrows) {
            found += &describe(&circle, &arrows);
        }
    }
    assert!(found.is_empty(), "{found}");
}

#[test]
fn a_circle_through_a_re_export_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join("src").join(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    };
    write(
        "lib.rs",
        "pub mod a;\npub mod b;\npub mod c;\npub use b::B;\n",
    );
    write(
        "a.rs",
        "use crate::B;\npub struct A(B); // super::b::Other\n",
    );
    write(
        "b.rs",
        "mod inner;\npub use inner::Inner;\npub struct B;\n#[cfg(test)]\nmod tests { use crate::a::A; }\n",
    );
    write("b/inner.rs", "pub struct Inner;\n");
    let arrows = arrows::of_crate(folder.path(), "toy", "src");
    assert!(circles(&arrows).is_empty(), "{arrows:?}");
    // One step further `b` needs `a` for what it does, and not only in its tests.
    write("b/inner.rs", "pub struct Inner(crate::a::A);\n");
    write("b.rs", "mod inner;\npub struct B;\nuse crate::c::C;\n");
    write("c.rs", "use super::b::inner::Inner;\npub struct C;\n");
    let arrows = arrows::of_crate(folder.path(), "toy", "src");
    let found = circles(&arrows);
    let names: Vec<&str> = found[0].iter().map(|name| name.as_str()).collect();
    assert_eq!(
        names,
        ["src/a.rs", "src/b.rs", "src/b/inner.rs", "src/c.rs"]
    );
}
