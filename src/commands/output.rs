//! The folder a command writes: it must not be, hold or lie in anything the command reads, and what is in it
//! already is only replaced where quench wrote it, or where a person says so in so many words.

use crate::Error;
use crate::model::OpenModel;
use crate::plan::Plan;
use calib::data::DataSpec;
use quantizers::formats::marker::{self, MARKER_FILE, foreign_model_file, is_marked};
use std::path::{Path, PathBuf};

/// What may be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Replace {
    /// Nothing.
    Nothing,
    /// What quench wrote: `--force`.
    Ours,
    /// Anything: `--force-foreign`.
    Anything,
}

impl Replace {
    /// From the two flags.
    pub(super) fn of(force: bool, force_foreign: bool) -> Self {
        match (force, force_foreign) {
            (_, true) => Self::Anything,
            (true, false) => Self::Ours,
            (false, false) => Self::Nothing,
        }
    }
}

/// Something a command reads.
#[derive(Debug, Clone)]
pub(super) struct Input {
    /// What messages call it.
    what: &'static str,
    path: PathBuf,
}

impl Input {
    /// A folder or file.
    pub(super) fn new(what: &'static str, path: impl Into<PathBuf>) -> Self {
        Self {
            what,
            path: path.into(),
        }
    }

    /// The file or folder a data string names; nothing for data that is not on this disk.
    pub(super) fn data(what: &'static str, text: &str) -> Option<Self> {
        match DataSpec::parse(text, Path::new("")) {
            Ok(DataSpec::Path { path, .. }) => Some(Self::new(what, path)),
            _ => None,
        }
    }
}

/// Everything that quantizing `open` as `plan` says reads from this disk, with the recipe of the command line.
pub(super) fn inputs(recipe: Option<&str>, open: &OpenModel, plan: &Plan) -> Vec<Input> {
    let calibration = plan.calibration.iter().map(|planned| &planned.data);
    let evaluation = plan.evaluations.iter().map(|planned| &planned.spec.data);
    let mut inputs = vec![Input::new("model", &open.folder)];
    inputs.extend(calibration.filter_map(|data| Input::data("calibration data", data)));
    inputs.extend(evaluation.filter_map(|data| Input::data("evaluation data", data)));
    let recipe = recipe.map(Path::new);
    inputs.extend(
        recipe
            .filter(|path| path.is_file())
            .map(|path| Input::new("recipe", path)),
    );
    inputs
}

/// `quench-out/MODEL-WHAT`, MODEL being the last part of its name.
pub(super) fn default_folder(model: &str, what: &str) -> PathBuf {
    let name = Path::new(model)
        .canonicalize()
        .ok()
        .as_deref()
        .unwrap_or(Path::new(model))
        .file_name()
        .map_or_else(
            || "model".to_owned(),
            |name| name.to_string_lossy().into_owned(),
        );
    Path::new("quench-out").join(format!("{name}-{what}"))
}

/// Checks the output of a command that reads `inputs`.
///
/// # Errors
/// An output that is an input, holds one or lies in one; one that exists and may not be replaced.
pub(super) fn check(output: &Path, replace: Replace, inputs: &[Input]) -> Result<(), Error> {
    check_apart(output, inputs)?;
    match fs_err::symlink_metadata(output) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            let message = format!("cannot look at `{}`", output.display());
            return Err(Error::io(message, error));
        }
        Ok(_) if !output.is_dir() => {
            return Err(Error::usage(format!(
                "output `{}` exists and is not a folder",
                output.display()
            )));
        }
        Ok(_) => {}
    }
    if replace == Replace::Anything || is_unfinished(output) {
        return Ok(());
    }
    if let Some(why) = foreign(output)? {
        let message = format!(
            "output folder `{}` exists, and quench did not write it: {why}",
            output.display()
        );
        return Err(Error::usage(message).with_hint(
            "name another folder with `-o`; `--force-foreign` writes into it all the same",
        ));
    }
    if replace == Replace::Ours {
        return Ok(());
    }
    Err(Error::OutputExists {
        path: output.to_owned(),
    })
}

/// Notes that quench wrote `folder`, so that a later `--force` may replace it.
pub(super) fn mark(folder: &Path) -> Result<(), Error> {
    marker::mark(folder, [])
        .map_err(|error| Error::io(format!("cannot write `{}`", folder.display()), error))
}

/// Why a folder with something in it is not taken for one of ours.
fn foreign(output: &Path) -> Result<Option<String>, Error> {
    if !is_marked(output) {
        return Ok(Some(format!("it has no `{MARKER_FILE}`")));
    }
    let found = foreign_model_file(output)
        .map_err(|error| Error::io(format!("cannot look at `{}`", output.display()), error))?;
    Ok(found.map(|name| format!("`{MARKER_FILE}` does not list its `{name}`")))
}

/// Empty, or holding nothing but what an interrupted run left.
fn is_unfinished(folder: &Path) -> bool {
    let marked = is_marked(folder);
    fs_err::read_dir(folder).is_ok_and(|entries| {
        entries.into_iter().all(|entry| {
            entry.is_ok_and(|entry| {
                let partial = entry.path().extension().is_some_and(|e| e == "partial");
                marked && (partial || entry.file_name() == MARKER_FILE)
            })
        })
    })
}

/// Checks that the output, and every link in it, is apart from all inputs.
fn check_apart(output: &Path, inputs: &[Input]) -> Result<(), Error> {
    let refused = |message| {
        Err(Error::usage(message)
            .with_hint("name a folder of its own with `-o`: what is read is never written to"))
    };
    for input in inputs {
        let (what, place) = (input.what, input.path.display());
        let relation = match relation(output, &input.path) {
            Relation::Apart => continue,
            Relation::Same => "is",
            Relation::Inside => "lies inside",
            Relation::Around => "holds",
        };
        return refused(format!(
            "output `{}` {relation} the {what} `{place}`",
            output.display()
        ));
    }
    for link in links(output) {
        let meets =
            |input: &&Input| input.path.is_dir() && relation(&link, &input.path) != Relation::Apart;
        if let Some(input) = inputs.iter().find(meets) {
            return refused(format!(
                "`{}` is a link to where the {} `{}` is",
                link.display(),
                input.what,
                input.path.display()
            ));
        }
    }
    Ok(())
}

/// Folders directly inside `output` that are links.
fn links(output: &Path) -> Vec<PathBuf> {
    let entries = fs_err::read_dir(output).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.is_symlink() && path.is_dir())
        .collect()
}

/// How an output lies to an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    Apart,
    Same,
    Inside,
    Around,
}

/// By identity of files and folders, not by spelling: through `..`, links and mounts.
fn relation(output: &Path, input: &Path) -> Relation {
    let (output, input) = (real(output), real(input));
    if is_same(&output, &input) {
        Relation::Same
    } else if input.is_dir() && output.ancestors().any(|folder| is_same(folder, &input)) {
        Relation::Inside
    } else if input.ancestors().any(|folder| is_same(folder, &output)) {
        Relation::Around
    } else {
        Relation::Apart
    }
}

/// The path without links and `..` as far as it exists.
fn real(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    for existing in absolute.ancestors() {
        if let Ok(real) = fs_err::canonicalize(existing) {
            return match absolute.strip_prefix(existing) {
                Ok(rest) if !rest.as_os_str().is_empty() => real.join(rest),
                _ => real,
            };
        }
    }
    absolute
}

/// Whether two paths name one file or folder.
fn is_same(one: &Path, other: &Path) -> bool {
    match (identity(one), identity(other)) {
        (Some(one), Some(other)) => one == other,
        _ => one == other,
    }
}

/// Device and number of a file; nothing where there is no such file, or the system has no such numbers.
#[cfg(unix)]
fn identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    let found = fs_err::metadata(path).ok()?;
    Some((found.dev(), found.ino()))
}

#[cfg(not(unix))]
fn identity(_path: &Path) -> Option<(u64, u64)> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_told_apart_by_what_they_are_and_not_by_how_they_are_written() {
        let here = tempfile::tempdir().unwrap();
        let model = here.path().join("model");
        fs_err::create_dir_all(model.join("sub")).unwrap();
        let at = |text: &str| here.path().join(text);
        assert_eq!(relation(&at("model/../model"), &model), Relation::Same);
        assert_eq!(relation(&at("model/new/out"), &model), Relation::Inside);
        assert_eq!(relation(here.path(), &model), Relation::Around);
        assert_eq!(relation(&at("model-2"), &model), Relation::Apart);
        let file = model.join("data.txt");
        fs_err::write(&file, "text").unwrap();
        assert_eq!(relation(&model, &file), Relation::Around);
        assert_eq!(relation(&at("model/out"), &file), Relation::Apart);
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed() {
        let here = tempfile::tempdir().unwrap();
        let model = here.path().join("model");
        fs_err::create_dir_all(&model).unwrap();
        let link = here.path().join("link");
        std::os::unix::fs::symlink(&model, &link).unwrap();
        assert_eq!(relation(&link, &model), Relation::Same);
        assert_eq!(relation(&link.join("out"), &model), Relation::Inside);
        let output = here.path().join("output");
        fs_err::create_dir_all(&output).unwrap();
        std::os::unix::fs::symlink(&model, output.join("1_Pooling")).unwrap();
        let inputs = [Input::new("model", &model)];
        assert!(check(&output, Replace::Anything, &inputs).is_err());
    }
}
