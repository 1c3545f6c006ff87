//! The `[[evaluate]]` table of a recipe.

use super::{TASKS, Task, TaskError};
use quantizers::nearest::nearest;
use serde::{Deserialize, Serialize};

/// One evaluation, as written in a recipe; unknown keys are errors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskSpec {
    /// Registry name of the task.
    pub task: String,
    /// What to run on.
    pub data: String,
    /// How text becomes sequences; windows unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Tokens of one window, or at most of one document; the model's positions up to 2048 unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence_length: Option<usize>,
    /// Tokens between the starts of two windows; `sequence_length` unless given. Every token is scored
    /// once: in overlapping windows only those the window before did not hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stride: Option<usize>,
    /// What stands between documents; `<|endoftext|>` unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub separator: Option<String>,
    /// Columns of a table.
    #[serde(default, skip_serializing_if = "Columns::is_empty")]
    pub columns: Columns,
    /// Tokens a sentence is cut at, special tokens included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_length: Option<usize>,
    /// Only the first so many sequences, rows or images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// How text becomes sequences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// The whole text without special tokens, in windows of equal length.
    #[default]
    Windows,
    /// Each document after a begin-of-sequence token, cut at the length.
    Documents,
}

/// Names of the columns of a table.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Columns {
    /// Text to classify.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Class of a row, as number or name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// First sentence of a pair.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<String>,
    /// Second sentence of a pair.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub right: Option<String>,
    /// Similarity of a pair.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<String>,
}

impl Columns {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl TaskSpec {
    /// The task `task` on `data`, everything else as the task has it.
    pub fn new(task: &str, data: &str) -> Self {
        Self {
            task: task.to_owned(),
            data: data.to_owned(),
            mode: None,
            sequence_length: None,
            stride: None,
            separator: None,
            columns: Columns::default(),
            max_length: None,
            limit: None,
        }
    }

    /// The task, once every key is one it reads and every number can be meant.
    ///
    /// # Errors
    /// An unknown task, a key it does not read, a number without meaning.
    pub fn check(&self) -> Result<&'static dyn Task, TaskError> {
        let task = TASKS.iter().find(|task| task.name() == self.task);
        let task = *task.ok_or_else(|| TaskError::Unknown {
            found: self.task.clone(),
            nearest: nearest(&self.task, TASKS.iter().map(|task| task.name())),
        })?;
        let known = task.keys();
        if let Some(key) = self.given().into_iter().find(|key| !known.contains(key)) {
            let known = ["task", "data", "limit"].iter().chain(known);
            return Err(TaskError::Key {
                task: task.name(),
                key: key.to_owned(),
                known: known.map(|&key| key.to_owned()).collect(),
            });
        }
        self.check_values()?;
        Ok(task)
    }

    fn check_values(&self) -> Result<(), TaskError> {
        let value = |key, expected: &str, found: String| {
            Err(TaskError::Value {
                task: self.task.clone(),
                key,
                expected: expected.to_owned(),
                found,
            })
        };
        if let Some(length @ 0..2) = self.sequence_length {
            return value("sequence_length", "at least 2 tokens", length.to_string());
        }
        for (key, number) in [("stride", self.stride), ("limit", self.limit)] {
            if number == Some(0) {
                return value(key, "at least 1", "0".to_owned());
            }
        }
        match (self.mode.unwrap_or_default(), self.stride, &self.separator) {
            (Mode::Documents, Some(stride), _) => value(
                "stride",
                "none with `mode = \"documents\"`",
                stride.to_string(),
            ),
            (Mode::Windows, _, Some(separator)) => value(
                "separator",
                "none without `mode = \"documents\"`",
                format!("`{separator}`"),
            ),
            _ => Ok(()),
        }
    }

    /// Optional keys that were written, besides `limit`.
    fn given(&self) -> Vec<&'static str> {
        let columns = &self.columns;
        [
            ("mode", self.mode.is_some()),
            ("sequence_length", self.sequence_length.is_some()),
            ("stride", self.stride.is_some()),
            ("separator", self.separator.is_some()),
            ("max_length", self.max_length.is_some()),
            ("columns.text", columns.text.is_some()),
            ("columns.label", columns.label.is_some()),
            ("columns.left", columns.left.is_some()),
            ("columns.right", columns.right.is_some()),
            ("columns.score", columns.score.is_some()),
        ]
        .into_iter()
        .filter_map(|(key, given)| given.then_some(key))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> TaskSpec {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn the_published_example_is_understood() {
        let spec = spec(
            "task = \"sentence_similarity\"\ndata = \"stsb.tsv\"\nmax_length = 128\n\
             columns = { left = \"sentence1\", right = \"sentence2\", score = \"score\" }",
        );
        assert_eq!(spec.check().unwrap().name(), "sentence_similarity");
        assert_eq!(spec.columns.left.as_deref(), Some("sentence1"));
        let again: TaskSpec = toml::from_str(&toml::to_string(&spec).unwrap()).unwrap();
        assert_eq!(again, spec);
    }

    #[test]
    fn unknown_keys_and_tasks_are_refused() {
        assert!(
            toml::from_str::<TaskSpec>("task = \"perplexity\"\ndata = \"a\"\nlenght = 2").is_err()
        );
        let unknown = spec("task = \"perplexty\"\ndata = \"a\"")
            .check()
            .err()
            .unwrap();
        assert_eq!(unknown.hints(), ["did you mean `perplexity`?"]);
        let key = spec("task = \"image_classification\"\ndata = \"a\"\nstride = 3").check();
        let key = key.err().unwrap().to_string();
        assert_eq!(
            key,
            "task `image_classification` has no key `stride`, it reads `task`, `data`, `limit`"
        );
    }

    #[test]
    fn numbers_without_meaning_are_refused() {
        for text in [
            "sequence_length = 1",
            "stride = 0",
            "limit = 0",
            "separator = \"x\"",
            "mode = \"documents\"\nstride = 4",
        ] {
            let spec = spec(&format!("task = \"perplexity\"\ndata = \"a\"\n{text}"));
            assert!(
                matches!(spec.check(), Err(TaskError::Value { .. })),
                "{text}"
            );
        }
    }
}
