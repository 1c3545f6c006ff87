//! Which file of a crate needs which, and for what.

use super::tokens::{tokens, without_tests};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// From a file to the files it needs, with the names it takes from each.
pub(super) type Arrows = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

type Segments = Vec<String>;

/// One file of a crate.
struct Source {
    file: String,
    /// Paths of `use` declarations, whether they are re-exports, and the name each brings in.
    uses: Vec<(Segments, bool, String)>,
    /// Other paths.
    paths: Vec<Segments>,
    /// Names outside of `use` declarations.
    words: BTreeSet<String>,
}

struct Tree(BTreeMap<Segments, Source>);

/// The arrows between the files in `folder` of `root`, a crate called `name`.
pub(super) fn of_crate(root: &Path, name: &str, folder: &str) -> Arrows {
    let mut tree = Tree(BTreeMap::new());
    let mut tests = BTreeSet::new();
    let mut files = Vec::new();
    crate::files::sources(&root.join(folder), &mut files);
    for path in files {
        let inside = path.strip_prefix(root.join(folder)).unwrap();
        let mut module: Segments = vec![name.to_owned()];
        module.extend(
            inside
                .with_extension("")
                .iter()
                .map(|part| part.to_string_lossy().into_owned()),
        );
        match module[1..].last().map(String::as_str) {
            // The program is a crate of its own.
            Some("main") if module.len() == 2 => continue,
            Some("lib") if module.len() == 2 => module.truncate(1),
            Some("mod") => module.truncate(module.len() - 1),
            _ => {}
        }
        let text = fs_err::read_to_string(&path).unwrap();
        let (tokens, test_modules) = without_tests(&tokens(&text));
        for test in test_modules {
            tests.insert([module.clone(), vec![test]].concat());
        }
        let file = path.strip_prefix(root).unwrap().display().to_string();
        tree.0.insert(module, Source::read(file, &tokens));
    }
    tree.0
        .retain(|module, _| !(1..=module.len()).any(|length| tests.contains(&module[..length])));
    tree.arrows()
}

impl Source {
    fn read(file: String, tokens: &[String]) -> Self {
        let mut source = Self {
            file,
            uses: Vec::new(),
            paths: Vec::new(),
            words: BTreeSet::new(),
        };
        let mut at = 0;
        while at < tokens.len() {
            let token = tokens[at].as_str();
            // `+ use<'a>` says what a type captures.
            let captures = tokens.get(at + 1).is_some_and(|next| next == "<");
            if token == "use" && !captures {
                // `pub use`, `pub(crate) use`, `pub(in crate::report) use`
                let public = at > 0 && matches!(tokens[at - 1].as_str(), "pub" | ")");
                let length = tokens[at..].iter().take_while(|t| *t != ";").count();
                source.read_use(&tokens[at + 1..at + length], &[], public);
                at += length;
            } else if is_name(token) && tokens.get(at + 1).is_some_and(|next| next == "::") {
                let mut path = vec![tokens[at].clone()];
                while tokens.get(at + 1).is_some_and(|next| next == "::")
                    && tokens.get(at + 2).is_some_and(|next| is_name(next))
                {
                    path.push(tokens[at + 2].clone());
                    at += 2;
                }
                source.words.extend(path.iter().cloned());
                source.paths.push(path);
                at += 1;
            } else {
                source.words.insert(tokens[at].clone());
                at += 1;
            }
        }
        source
    }

    /// Reads one tree of a `use` declaration, as in `a::{b, c::{self, d as e}}`.
    fn read_use(&mut self, tokens: &[String], before: &[String], public: bool) {
        let mut path = before.to_vec();
        for (at, token) in tokens.iter().enumerate() {
            match token.as_str() {
                "{" => {
                    let inner = &tokens[at + 1..tokens.len() - 1];
                    let (mut depth, mut start) = (0_usize, 0);
                    for (end, token) in inner.iter().enumerate() {
                        match token.as_str() {
                            "{" => depth += 1,
                            "}" => depth -= 1,
                            "," if depth == 0 => {
                                self.read_use(&inner[start..end], &path, public);
                                start = end + 1;
                            }
                            _ => {}
                        }
                    }
                    return self.read_use(&inner[start..], &path, public);
                }
                "as" => {
                    let name = tokens[at + 1].clone();
                    return self.uses.push((path, public, name));
                }
                "::" => {}
                "self" if !path.is_empty() => {}
                _ => path.push(token.clone()),
            }
        }
        if let (Some(name), false) = (path.last().cloned(), tokens.is_empty()) {
            self.uses.push((path, public, name));
        }
    }
}

fn is_name(token: &str) -> bool {
    token.starts_with(|letter: char| letter.is_alphabetic() || letter == '_')
}

impl Tree {
    fn arrows(&self) -> Arrows {
        let mut arrows = Arrows::new();
        for (module, source) in &self.0 {
            let needed = arrows.entry(source.file.clone()).or_default();
            let uses = source.uses.iter();
            let uses = uses
                .filter(|(_, public, name)| !public || source.words.contains(name))
                .map(|(path, ..)| path);
            for path in uses.chain(&source.paths) {
                let Some(target) = self
                    .start(module, path)
                    .and_then(|(start, rest)| self.resolve(&start, rest, &mut BTreeSet::new()))
                else {
                    continue;
                };
                // A module lists its submodules anyway.
                if !target.0.starts_with(module) {
                    let name = path.last().cloned().unwrap_or_default();
                    needed
                        .entry(target.1.file.clone())
                        .or_default()
                        .insert(name);
                }
            }
        }
        arrows
    }

    /// Where a path of `module` begins, and what is left of it; nothing for paths out of the crate.
    fn start<'p>(&self, module: &Segments, path: &'p [String]) -> Option<(Segments, &'p [String])> {
        let mut start = module.clone();
        let mut rest = path;
        match path.first()?.as_str() {
            "crate" => start.truncate(1),
            "self" => {}
            "super" => {
                while rest.first().is_some_and(|part| part == "super") {
                    start.pop();
                    rest = &rest[1..];
                }
                return Some((start, rest));
            }
            child => {
                let child = [start.clone(), vec![child.to_owned()]].concat();
                return self.0.contains_key(&child).then_some((start, rest));
            }
        }
        Some((start, &rest[1..]))
    }

    /// The file that defines `path`, seen from `module`.
    fn resolve<'t>(
        &'t self,
        module: &Segments,
        path: &[String],
        seen: &mut BTreeSet<(Segments, Segments)>,
    ) -> Option<(&'t Segments, &'t Source)> {
        let (module, source) = self.0.get_key_value(module)?;
        let Some(first) = path.first() else {
            return Some((module, source));
        };
        if !seen.insert((module.clone(), path.to_vec())) {
            return None;
        }
        let child = [module.clone(), vec![first.clone()]].concat();
        if self.0.contains_key(&child) {
            return self.resolve(&child, &path[1..], seen);
        }
        for (target, _, name) in &source.uses {
            if name == first
                && let Some((start, rest)) = self.start(module, target)
            {
                let rest = [rest, &path[1..]].concat();
                return self.resolve(&start, &rest, seen);
            }
        }
        // Behind a glob only where nothing here has the name.
        if !source.words.contains(first) {
            for (target, _, name) in &source.uses {
                if name == "*"
                    && let Some((start, rest)) = self.start(module, target)
                {
                    let rest = [&rest[..rest.len() - 1], path].concat();
                    if let Some(found) = self.resolve(&start, &rest, seen) {
                        return Some(found);
                    }
                }
            }
        }
        Some((module, source))
    }
}
