//! `[[evaluate]]`: which task, on what.

use super::document::Section;
use super::{Evaluation, RecipeError, resolve_data};
use eval::tasks::{TASKS, TaskSpec};
use quantizers::nearest::nearest;
use std::path::Path;

/// Keys every task reads.
const SHARED_KEYS: [&str; 3] = ["task", "data", "limit"];

impl Evaluation {
    /// Reads a table; every key must be one its task reads.
    pub(super) fn read(section: Section, folder: Option<&Path>) -> Result<Self, RecipeError> {
        const SECTION: &str = "`[[evaluate]]`";
        let line = section.line();
        let (mut table, lines) = section.rest();
        let line_of = |key: &str| {
            lines
                .iter()
                .find(|(name, _)| name == key)
                .map_or(line, |(_, line)| *line)
        };
        let missing = |key| RecipeError::MissingKey {
            line,
            section: SECTION.to_owned(),
            key,
        };
        let name = table
            .get("task")
            .and_then(toml::Value::as_str)
            .ok_or(missing("task"))?;
        let Some(task) = TASKS.iter().find(|task| task.name() == name) else {
            return Err(RecipeError::UnknownName {
                line: line_of("task"),
                what: "task",
                name: name.to_owned(),
                nearest: nearest(name, TASKS.iter().map(|task| task.name())),
            });
        };
        let known: Vec<&str> = SHARED_KEYS
            .into_iter()
            .chain(
                task.keys()
                    .iter()
                    .map(|key| key.split('.').next().unwrap_or(key)),
            )
            .collect();
        if let Some(key) = table.keys().find(|key| !known.contains(&key.as_str())) {
            return Err(RecipeError::UnknownKey {
                line: line_of(key),
                section: format!("{SECTION} of task `{name}`"),
                key: key.clone(),
                nearest: nearest(key, known.iter().copied()),
            });
        }
        match table.get_mut("data") {
            None => return Err(missing("data")),
            Some(toml::Value::String(data)) => *data = resolve_data(data, folder),
            Some(_) => {}
        }
        let invalid = |message: String| RecipeError::Evaluation { line, message };
        let spec: TaskSpec = table.try_into().map_err(|error: toml::de::Error| {
            invalid(error.message().trim().replace('\n', ", "))
        })?;
        spec.check().map_err(|error| invalid(error.to_string()))?;
        Ok(Self { line, spec })
    }
}
