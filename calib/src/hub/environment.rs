//! What the environment says about the Hub, read as its Python client reads it: `~` and `$NAME` in folders
//! stand for what a shell would put there, tokens come without the line end of the file they were in.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Gives the value of a variable.
type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The cache folder; nothing where no variable names one and there is no home.
pub(super) fn cache_folder() -> Option<PathBuf> {
    cache_folder_of(&variable)
}

/// The access token.
pub(super) fn token() -> Option<String> {
    token_of(&variable)
}

/// What the Hub's other tools take as true.
pub(super) fn is_true(value: &str) -> bool {
    ["1", "ON", "YES", "TRUE"].contains(&value.trim().to_uppercase().as_str())
}

/// A path from a variable, with `~` and `$NAME` or `${NAME}` replaced by what they stand for.
pub fn expanded(value: &OsStr) -> PathBuf {
    match value.to_str() {
        Some(text) => expanded_with(text, &variable),
        None => PathBuf::from(value),
    }
}

/// The value of a variable; an empty one is as good as none.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn folder_of(name: &str, lookup: Lookup<'_>) -> Option<PathBuf> {
    lookup(name).map(|value| expanded_with(&value, lookup))
}

fn cache_folder_of(lookup: Lookup<'_>) -> Option<PathBuf> {
    folder_of("HF_HUB_CACHE", lookup)
        .or_else(|| folder_of("HUGGINGFACE_HUB_CACHE", lookup))
        .or_else(|| home_of(lookup).map(|home| home.join("hub")))
}

fn home_of(lookup: Lookup<'_>) -> Option<PathBuf> {
    folder_of("HF_HOME", lookup)
        .or_else(|| folder_of("XDG_CACHE_HOME", lookup).map(|cache| cache.join("huggingface")))
        .or_else(|| lookup("HOME").map(|home| Path::new(&home).join(".cache/huggingface")))
}

fn token_of(lookup: Lookup<'_>) -> Option<String> {
    if lookup("HF_HUB_DISABLE_IMPLICIT_TOKEN").is_some_and(|value| is_true(&value)) {
        return None;
    }
    let named = ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"];
    if let Some(token) = named
        .iter()
        .find_map(|name| cleaned(&lookup(name).unwrap_or_default()))
    {
        return Some(token);
    }
    let file = folder_of("HF_TOKEN_PATH", lookup)
        .or_else(|| home_of(lookup).map(|home| home.join("token")))?;
    cleaned(&fs_err::read_to_string(file).ok()?)
}

/// The token without line ends and surrounding spaces; nothing where nothing is left.
fn cleaned(text: &str) -> Option<String> {
    let token = text.replace(['\r', '\n'], "");
    let token = token.trim();
    (!token.is_empty()).then(|| token.to_owned())
}

/// Whether a token can be sent: visible ASCII, as a header wants it.
#[cfg(feature = "hub")]
pub(super) fn can_be_sent(token: &str) -> bool {
    token.bytes().all(|byte| byte.is_ascii_graphic())
}

fn expanded_with(text: &str, lookup: Lookup<'_>) -> PathBuf {
    let home = text
        .strip_prefix('~')
        .filter(|rest| rest.is_empty() || rest.starts_with('/'));
    let text = match (home, lookup("HOME")) {
        (Some(rest), Some(home)) => format!("{}{rest}", home.trim_end_matches('/')),
        _ => text.to_owned(),
    };
    PathBuf::from(with_variables(&text, lookup))
}

/// `$NAME` and `${NAME}` replaced; a name without a value stays as it is.
fn with_variables(text: &str, lookup: Lookup<'_>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let braced = after.strip_prefix('{');
        let (name, length) = if let Some((name, _)) = braced.and_then(|inner| inner.split_once('}'))
        {
            (name, name.len() + 2)
        } else {
            let end = after
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .unwrap_or(after.len());
            (&after[..end], end)
        };
        match lookup(name).filter(|_| !name.is_empty()) {
            Some(value) => out.push_str(&value),
            None => out.push_str(&rest[at..=at + length]),
        }
        rest = &after[length..];
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with<'a>(pairs: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
        move |name| {
            let found = pairs.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        }
    }

    #[test]
    fn folders_are_expanded_as_a_shell_would() {
        let lookup = with(&[("HOME", "/home/me/"), ("SCRATCH", "/big")]);
        for (text, expected) in [
            ("~/hf", "/home/me/hf"),
            ("~", "/home/me"),
            ("~other/hf", "~other/hf"),
            ("$SCRATCH/hf", "/big/hf"),
            ("${SCRATCH}-2/hf", "/big-2/hf"),
            ("$NOTHING/hf", "$NOTHING/hf"),
            ("a$", "a$"),
            ("${open", "${open"),
        ] {
            assert_eq!(expanded_with(text, &lookup), PathBuf::from(expected));
        }
    }

    #[test]
    fn offline_is_read_as_other_tools_do() {
        assert!(["1", "true", "Yes", "ON"].into_iter().all(is_true));
        assert!(!["", "0", "false", "off", "2"].into_iter().any(is_true));
    }

    #[test]
    fn the_cache_is_where_other_tools_have_it() {
        let folder = |pairs: &[(&str, &str)]| cache_folder_of(&with(pairs)).unwrap();
        assert_eq!(
            folder(&[("HOME", "/h"), ("HF_HOME", "~/hf")]),
            PathBuf::from("/h/hf/hub")
        );
        assert_eq!(
            folder(&[("HOME", "/h"), ("HF_HUB_CACHE", "~/c"), ("HF_HOME", "/x")]),
            PathBuf::from("/h/c")
        );
        assert_eq!(
            folder(&[("HOME", "/h"), ("XDG_CACHE_HOME", "~/xdg")]),
            PathBuf::from("/h/xdg/huggingface/hub")
        );
        assert_eq!(
            folder(&[("HOME", "/h")]),
            PathBuf::from("/h/.cache/huggingface/hub")
        );
    }

    #[test]
    fn tokens_lose_line_ends_and_spaces_and_nothing_else() {
        let token = |value: &str| token_of(&with(&[("HF_TOKEN", value), ("HF_HOME", "/nowhere")]));
        for value in ["hf_abc", "hf_abc\n", " hf_abc ", "hf_abc\r\n", "\nhf_abc"] {
            assert_eq!(token(value).as_deref(), Some("hf_abc"));
        }
        assert_eq!(token("\n"), None);
        #[cfg(feature = "hub")]
        assert!(can_be_sent("hf_abc") && !can_be_sent("hf abc") && !can_be_sent("hf_\u{e9}"));
        let off = [
            ("HF_TOKEN", "hf_abc"),
            ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1"),
        ];
        assert_eq!(token_of(&with(&off)), None);
    }

    #[test]
    fn a_token_file_is_read_where_no_variable_holds_one() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().to_str().unwrap();
        fs_err::write(folder.path().join("token"), "hf_file\n").unwrap();
        assert_eq!(
            token_of(&with(&[("HF_HOME", home)])).as_deref(),
            Some("hf_file")
        );
    }
}
