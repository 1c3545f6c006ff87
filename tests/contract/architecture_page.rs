//! The table "To add something" of `ARCHITECTURE.md` against the tree.

use std::path::Path;

/// The cells of each row, without backticks.
fn rows(page: &str) -> Vec<Vec<String>> {
    let section = page.split("## To add something").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| "));
    rows.skip(1)
        .map(|row| {
            let cells = row.trim_matches('|').split('|');
            cells.map(|cell| cell.trim().replace('`', "")).collect()
        })
        .collect()
}

#[test]
fn every_place_the_page_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs_err::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let folders = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    for folder in folders.filter(|folder| !folder.contains("NAME")) {
        assert!(root.join(folder).is_dir(), "{folder}");
    }
}

#[test]
fn the_table_of_additions_names_files_traits_and_registries_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs_err::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let rows = rows(&page);
    let mut toys: Vec<String> = Vec::new();
    for row in &rows {
        let [what, file, lists, interface, registry, toy] = row.as_slice() else {
            panic!("six cells: {row:?}")
        };
        let folder = Path::new(file).parent().unwrap();
        assert!(file.ends_with("/NAME.rs"), "{what}: {file}");
        assert!(root.join(folder).is_dir(), "{what}: {file}");
        let listed = fs_err::read_to_string(root.join(lists)).unwrap();
        let slice = format!("pub static {registry}: &[&dyn {interface}]");
        // A registry that is made of tables is put together when it is first asked for.
        let made = format!("pub static {registry}: LazyLock<Vec<&dyn {interface}>>");
        let is_there = listed.contains(&slice) || listed.contains(&made);
        assert!(is_there, "{what}: {lists} has no `{slice}`");
        let toy_text = fs_err::read_to_string(root.join(toy)).unwrap();
        let entry = format!("impl {interface} for ");
        assert!(toy_text.contains(&entry), "{what}: {toy} has no `{entry}`");
        toys.push(
            Path::new(toy)
                .file_stem()
                .unwrap()
                .to_string_lossy()
                .into_owned(),
        );
    }
    let folder = fs_err::read_dir(root.join("tests/contract/toys")).unwrap();
    for entry in folder {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        assert!(toys.contains(&name), "no row names the toy `{name}`");
    }
}
