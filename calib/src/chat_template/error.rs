//! What can go wrong with a chat template.

use std::path::PathBuf;
use thiserror::Error;

/// A template that cannot be read as one, or refuses a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{path}`{}: {what}", place(*.line))]
pub struct ChatTemplateError {
    /// The file the template is in.
    pub path: PathBuf,
    /// The line of the template.
    pub line: Option<usize>,
    /// What is wrong, in the words of the template or of who reads it.
    pub what: String,
}

fn place(line: Option<usize>) -> String {
    line.map_or_else(String::new, |line| format!(" line {line}"))
}
