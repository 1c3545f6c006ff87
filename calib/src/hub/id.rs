//! `owner/name@revision`.

use super::HubError;
use std::fmt;

/// The kinds of repository data comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepoType {
    /// Checkpoints.
    Model,
    /// Data sets.
    Dataset,
}

impl RepoType {
    /// As in cache folder names.
    #[cfg(feature = "hub")]
    pub(super) fn plural(self) -> &'static str {
        match self {
            Self::Model => "models",
            Self::Dataset => "datasets",
        }
    }
}

impl fmt::Display for RepoType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Model => "model",
            Self::Dataset => "data set",
        })
    }
}

/// A repository on the Hub, perhaps at a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepoId {
    owner: String,
    name: String,
    revision: Option<String>,
}

impl RepoId {
    /// Reads `owner/name` or `owner/name@revision` (branch, tag or commit).
    ///
    /// # Errors
    /// Any other form.
    pub fn parse(text: &str) -> Result<Self, HubError> {
        let error = |reason: &str| HubError::BadId {
            id: text.to_owned(),
            reason: reason.to_owned(),
        };
        let (path, revision) = match text.split_once('@') {
            Some((path, revision)) => (path, Some(revision)),
            None => (text, None),
        };
        let (owner, name) = path.split_once('/').ok_or_else(|| error("no `/`"))?;
        for part in [owner, name] {
            let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            if part.is_empty() || part.starts_with('.') || !part.chars().all(allowed) {
                return Err(error(
                    "owner and name hold letters, digits, `-`, `_` and `.`",
                ));
            }
        }
        let id = Self {
            owner: owner.to_owned(),
            name: name.to_owned(),
            revision: None,
        };
        match revision {
            Some(revision) => id.at(revision),
            None => Ok(id),
        }
    }

    /// The same repository at `revision`.
    ///
    /// # Errors
    /// A revision that git could not name.
    pub fn at(mut self, revision: &str) -> Result<Self, HubError> {
        let odd = |c: char| c.is_whitespace() || c.is_control() || "~^:?*[\\@".contains(c);
        if revision.is_empty()
            || revision.contains(odd)
            || revision
                .split('/')
                .any(|part| part.is_empty() || part.starts_with('.'))
        {
            let reason = format!("`{revision}` is no revision");
            return Err(HubError::BadId {
                id: self.path(),
                reason,
            });
        }
        self.revision = Some(revision.to_owned());
        Ok(self)
    }

    /// Before the slash.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// After the slash.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `owner/name`.
    pub fn path(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }

    /// The revision, where one was named.
    pub fn revision(&self) -> Option<&str> {
        self.revision.as_deref()
    }

    /// The revision, `main` where none was named.
    pub fn revision_or_main(&self) -> &str {
        self.revision().unwrap_or("main")
    }
}

impl fmt::Display for RepoId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)?;
        match &self.revision {
            Some(revision) => write!(f, "@{revision}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::RepoId;

    #[test]
    fn owner_name_and_revision() {
        let id = RepoId::parse("owner/name-1.5@refs/pr/2").unwrap();
        assert_eq!(
            (id.owner(), id.name(), id.revision()),
            ("owner", "name-1.5", Some("refs/pr/2"))
        );
        assert_eq!(id.to_string(), "owner/name-1.5@refs/pr/2");
        assert_eq!(
            RepoId::parse("owner/name").unwrap().revision_or_main(),
            "main"
        );
    }

    #[test]
    fn other_forms_are_refused() {
        for text in [
            "name", "/name", "owner/", "a/b/c", "a/b@", "a/b@..", "../b", "a/b@x y", "a b/c",
        ] {
            assert!(RepoId::parse(text).is_err(), "{text}");
        }
    }
}
