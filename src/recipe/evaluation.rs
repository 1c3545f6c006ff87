//! `[[evaluate]]`: which task, on what.

use super::document::Section;
use super::{Evaluation, RecipeError, resolve_data};
use eval::tasks::{TASKS, TaskError, TaskSpec};
use std::path::Path;

const SECTION: &str = "`[[evaluate]]`";

impl Evaluation {
    /// Reads a table; every key must be one its task reads.
    pub(super) fn read(section: Section, folder: Option<&Path>) -> Result<Self, RecipeError> {
        let line = section.line();
        let (mut table, lines) = section.rest();
        if let Some(key) = ["task", "data"]
            .iter()
            .find(|&&key| !table.contains_key(key))
        {
            return Err(RecipeError::MissingKey {
                line,
                section: SECTION.to_owned(),
                key,
            });
        }
        if let Some(toml::Value::String(data)) = table.get_mut("data") {
            *data = resolve_data(data, folder);
        }
        let spec: TaskSpec =
            table
                .try_into()
                .map_err(|error: toml::de::Error| RecipeError::Evaluation {
                    line,
                    message: error.message().trim().replace('\n', ", "),
                })?;
        match spec.configure(TASKS) {
            Ok(_) => Ok(Self { line, spec }),
            Err(error) => Err(at_its_line(error, line, &lines)),
        }
    }
}

/// The error with the line of the key it is about, else that of the table.
fn at_its_line(error: TaskError, line: usize, lines: &[(String, usize)]) -> RecipeError {
    let line_of = |key: &str| {
        let found = lines.iter().find(|(name, _)| name == key);
        found.map_or(line, |(_, line)| *line)
    };
    match error {
        TaskError::Unknown { found, nearest } => RecipeError::UnknownName {
            line: line_of("task"),
            what: "task",
            name: found,
            nearest,
        },
        TaskError::Key { task, key, nearest } => RecipeError::UnknownKey {
            line: line_of(&key),
            section: format!("{SECTION} of task `{task}`"),
            key,
            nearest,
        },
        TaskError::Value { key, .. } => RecipeError::Evaluation {
            line: line_of(key),
            message: error.to_string(),
        },
        error => RecipeError::Evaluation {
            line,
            message: error.to_string(),
        },
    }
}
