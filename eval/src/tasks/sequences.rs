//! From the data of a perplexity evaluation to scored token sequences.

use super::table_texts::of_another_kind;
use super::task::TaskInput;
use crate::error::TaskError;
use calib::data::{Content, DataError};
use calib::model::Model;
use calib::sampling::{TextMode, text_sequences};
use calib::tokenizer::Tokenizer;
use serde::Deserialize;

/// Window length where neither recipe nor model gives one, and the longest default.
const LENGTH: usize = 2048;

/// Token sequences and, for each, the first position whose token is scored.
pub(super) struct Sequences {
    /// At least two tokens each.
    pub ids: Vec<Vec<u32>>,
    /// At least 1 each: nothing predicts the first token.
    pub first: Vec<usize>,
}

/// How text becomes sequences: the keys of the task.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SequenceOptions {
    #[serde(default)]
    mode: Mode,
    /// Tokens of one window, or at most of one document; the model's positions up to 2048 unless given.
    pub(super) sequence_length: Option<usize>,
    /// Tokens between the starts of two windows; `sequence_length` unless given. Every token is scored
    /// once: in overlapping windows only those the window before did not hold.
    stride: Option<usize>,
    /// What stands between documents; `<|endoftext|>` unless given.
    separator: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    /// The whole text without special tokens, in windows of equal length.
    #[default]
    Windows,
    /// Each document after a begin-of-sequence token, cut at the length.
    Documents,
}

impl SequenceOptions {
    /// The keys as [`super::Task::parameters`] lists them.
    pub(super) const KEYS: &'static [(&'static str, &'static str)] = &[
        ("mode", "`windows` over the whole text, or `documents`"),
        (
            "sequence_length",
            "tokens of a window, or at most of a document",
        ),
        ("stride", "tokens between the starts of two windows"),
        ("separator", "what stands between two documents"),
    ];

    /// Refuses numbers that mean nothing, and keys of the other mode.
    pub(super) fn check(&self, task: &'static str) -> Result<(), TaskError> {
        let value = |key, expected: &str, found: String| {
            Err(TaskError::Value {
                task,
                key,
                expected: expected.to_owned(),
                found,
            })
        };
        if let Some(length @ 0..2) = self.sequence_length {
            return value("sequence_length", "at least 2 tokens", length.to_string());
        }
        if self.stride == Some(0) {
            return value("stride", "at least 1", "0".to_owned());
        }
        match (self.mode, self.stride, &self.separator) {
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

    fn text_mode(&self) -> TextMode {
        match self.mode {
            Mode::Windows => TextMode::Windows {
                stride: self.stride,
            },
            Mode::Documents => TextMode::Documents {
                separator: self
                    .separator
                    .clone()
                    .unwrap_or_else(|| "<|endoftext|>".to_owned()),
            },
        }
    }
}

impl Sequences {
    /// Windows or documents of the content of `input`.
    pub(super) fn of(
        task: &'static str,
        options: &SequenceOptions,
        input: &TaskInput<'_>,
    ) -> Result<Self, TaskError> {
        let positions = input.subject.model().and_then(Model::max_positions);
        let default = positions.map_or(LENGTH, |positions| positions.min(LENGTH));
        let length = options.sequence_length.unwrap_or(default);
        if let Some(positions) = positions.filter(|&positions| length > positions) {
            return Err(TaskError::Value {
                task,
                key: "sequence_length",
                expected: format!("at most the {positions} positions of the model"),
                found: length.to_string(),
            });
        }
        let mut ids = token_ids(task, options, input, length)?;
        ids.retain(|ids| ids.len() > 1);
        ids.truncate(input.limit);
        if ids.is_empty() {
            return Err(DataError::TooShort {
                origin: input.origin.to_owned(),
                needed: length,
                found: 0,
            }
            .into());
        }
        // An overlapping window scores what the one before did not hold.
        let held = length
            .saturating_sub(options.stride.unwrap_or(length))
            .max(1);
        let first = (0..ids.len())
            .map(|at| if at == 0 { 1 } else { held })
            .collect();
        Ok(Self { ids, first })
    }
}

fn token_ids(
    task: &'static str,
    options: &SequenceOptions,
    input: &TaskInput<'_>,
    length: usize,
) -> Result<Vec<Vec<u32>>, TaskError> {
    let tokenizer = || {
        let tokenizer = input.subject.inputs.tokenizer.as_ref();
        tokenizer.ok_or(TaskError::MissingFile {
            task,
            file: "tokenizer.json",
        })
    };
    let sequences = |text: &str, tokenizer: &Tokenizer| {
        text_sequences(text, &options.text_mode(), length, tokenizer, input.origin)
    };
    match input.content {
        Content::Text(text) => Ok(sequences(text, tokenizer()?)?),
        // Rows are documents of their own, or paragraphs of one text.
        Content::Table(table) if options.mode == Mode::Documents => {
            let tokenizer = tokenizer()?;
            let begin = tokenizer.begin().ok_or(DataError::NoBeginToken)?;
            let row = |text: &String| {
                let mut ids = vec![begin];
                ids.extend(tokenizer.encode(text.trim())?);
                ids.truncate(length);
                Ok(ids)
            };
            table.texts()?.iter().map(row).collect()
        }
        Content::Table(table) => Ok(sequences(&table.texts()?.join("\n\n"), tokenizer()?)?),
        Content::Tokens(sequences) => Ok(sequences
            .iter()
            .map(|ids| ids[..ids.len().min(length)].to_vec())
            .collect()),
        Content::Images(_) => Err(of_another_kind(input, "text", input.content)),
    }
}
