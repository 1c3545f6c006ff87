//! What MODEL on the command line means, by the shape of what was typed and by what is on this disk.

use crate::Error;
use calib::hub::RepoId;
use quantizers::formats::gguf;
use quantizers::nearest::nearest;
use std::path::{Path, PathBuf};

/// The word that names the model compiled into the program.
pub(crate) const DEMO: &str = "demo";

/// What it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ModelReference {
    /// The model compiled into the program.
    Demo,
    /// A folder, or a GGUF file, which holds what a folder does.
    Folder(PathBuf),
    /// A repository on the Hub.
    Hub(RepoId),
}

/// What can be named.
const FORMS: &str = "name a folder, a .gguf file, `org/name[@revision]` on the Hub, or `demo`";

impl std::str::FromStr for ModelReference {
    type Err = Error;

    /// `demo`; else an existing folder; else `org/name[@revision]`, unless it looks like a path or is almost
    /// the name of something here.
    fn from_str(text: &str) -> Result<Self, Error> {
        if text == DEMO {
            return Ok(Self::Demo);
        }
        let path = Path::new(text);
        if path.is_dir() || path.is_file() && gguf::is_gguf(path) {
            return Ok(Self::Folder(path.to_owned()));
        }
        if path.is_file() {
            return Err(a_file(path));
        }
        let near = near(path);
        match RepoId::parse(text) {
            Ok(id) if !looks_like_a_path(text) && near.is_none() => Ok(Self::Hub(id)),
            _ => Err(Error::NotFound {
                what: "model",
                path: path.to_owned(),
                hint: Some(match near {
                    Some(near) => format!("did you mean `{}`?", near.display()),
                    None => FORMS.to_owned(),
                }),
            }),
        }
    }
}

/// What a model on the Hub could have been meant as, where the Hub does not have it or cannot be reached.
pub(super) fn instead_of_hub(id: &RepoId) -> String {
    let owner = Path::new(id.owner());
    if owner.is_dir() {
        return format!(
            "`{}` is a folder here, but has no `{}` in it; {FORMS}",
            owner.display(),
            id.name()
        );
    }
    format!(
        "there is no folder `{}` here, so it was looked for on the Hub; {FORMS}",
        id.path()
    )
}

fn looks_like_a_path(text: &str) -> bool {
    text.starts_with(['.', '/', '~', '\\'])
        || text.ends_with('/')
        || text.contains('\\')
        || Path::new(text).extension().is_some_and(|ending| {
            ["safetensors", "bin", "json", "gguf"]
                .iter()
                .any(|known| ending == *known)
        })
}

/// A file inside a model folder, or one of another kind.
fn a_file(path: &Path) -> Error {
    let parent = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    };
    let message = format!(
        "expected a model folder, found the file `{}`",
        path.display()
    );
    let error = Error::usage(message);
    if parent.join("config.json").is_file() {
        error.with_hint(format!("name the folder it is in: `{}`", parent.display()))
    } else {
        error.with_hint(
            "a model folder holds config.json and model.safetensors or pytorch_model.bin",
        )
    }
}

/// The folder beside the one named whose name is most like it.
fn near(path: &Path) -> Option<PathBuf> {
    let parent = match path.parent()? {
        parent if parent.as_os_str().is_empty() => Path::new("."),
        parent => parent,
    };
    let entries = fs_err::read_dir(parent).ok()?;
    let folders: Vec<String> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let name = entry.file_name().into_string().ok()?;
            entry.path().is_dir().then_some(name)
        })
        .collect();
    let name = path.file_name()?.to_str()?;
    let found = nearest(name, folders.iter().map(String::as_str))?;
    Some(match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.join(found),
        _ => PathBuf::from(found),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(path: &Path) -> String {
        let parsed: Result<ModelReference, Error> = path.to_str().unwrap().parse();
        parsed.unwrap_err().render()
    }

    #[test]
    fn a_path_that_is_not_there_comes_with_the_folder_that_is() {
        let here = tempfile::tempdir().unwrap();
        fs_err::create_dir_all(here.path().join("my-model")).unwrap();
        let text = error(&here.path().join("my-modl"));
        assert!(text.contains("my-model`?"), "{text}");
        let text = error(&here.path().join("something else"));
        assert!(text.contains("name a folder"), "{text}");
    }

    #[test]
    fn a_file_of_a_model_names_its_folder() {
        let here = tempfile::tempdir().unwrap();
        let file = here.path().join("model.safetensors");
        fs_err::write(&file, "x").unwrap();
        assert!(error(&file).contains("config.json and model.safetensors"));
        fs_err::write(here.path().join("config.json"), "{}").unwrap();
        let text = error(&file);
        let expected = format!("name the folder it is in: `{}`", here.path().display());
        assert!(text.contains(&expected), "{text}");
    }

    #[test]
    fn what_looks_like_a_repository_is_one() {
        let parsed: ModelReference = "no-such-owner/no-such-name@v1".parse().unwrap();
        assert!(matches!(parsed, ModelReference::Hub(_)));
        assert!("a/b/c".parse::<ModelReference>().is_err());
        assert!(
            "weights/model.safetensors"
                .parse::<ModelReference>()
                .is_err()
        );
    }
}
