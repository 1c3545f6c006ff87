//! The `[[evaluate]]` table of a recipe.

use super::task::{ConfiguredTask, Task};
use crate::error::TaskError;
use quantizers::nearest::nearest;
use serde::{Deserialize, Serialize};

/// One evaluation, as written in a recipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskSpec {
    /// Registry name of the task.
    pub task: String,
    /// What to run on.
    pub data: String,
    /// Only the first so many sequences, rows or images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Keys of the task itself.
    #[serde(flatten)]
    pub parameters: toml::Table,
}

impl TaskSpec {
    /// Keys that are read for every task.
    pub const SHARED_KEYS: [&'static str; 3] = ["task", "data", "limit"];

    /// The task `task` on `data`, everything else as the task has it.
    pub fn new(task: &str, data: &str) -> Self {
        Self {
            task: task.to_owned(),
            data: data.to_owned(),
            limit: None,
            parameters: toml::Table::new(),
        }
    }

    /// The same with one more key.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<toml::Value>) -> Self {
        self.parameters.insert(key.to_owned(), value.into());
        self
    }

    /// The entry of `registry` this names, and its keys read.
    ///
    /// # Errors
    /// An unknown task, a key it does not read, a value it cannot take.
    pub fn configure<'r>(
        &self,
        registry: &[&'r dyn Task],
    ) -> Result<(&'r dyn Task, Box<dyn ConfiguredTask>), TaskError> {
        let task = find(registry, &self.task)?;
        if self.limit == Some(0) {
            return Err(TaskError::Value {
                task: task.name(),
                key: "limit",
                expected: "at least 1".to_owned(),
                found: "0".to_owned(),
            });
        }
        let known: Vec<&str> = task.parameters().iter().map(|(name, _)| *name).collect();
        let mut keys = self.parameters.keys();
        if let Some(key) = keys.find(|key| !known.contains(&key.as_str())) {
            return Err(TaskError::Key {
                task: task.name(),
                key: key.clone(),
                nearest: nearest(key, known.into_iter().chain(Self::SHARED_KEYS)),
            });
        }
        Ok((task, task.configure(&self.parameters)?))
    }
}

/// The entry of `registry` called `name`.
///
/// # Errors
/// No such task, with the nearest name.
pub fn find<'r>(registry: &[&'r dyn Task], name: &str) -> Result<&'r dyn Task, TaskError> {
    let names = || registry.iter().map(|task| task.name());
    let task = registry.iter().find(|task| task.name() == name).copied();
    task.ok_or_else(|| TaskError::Unknown {
        found: name.to_owned(),
        nearest: nearest(name, names()),
    })
}
