//! From the data of a perplexity evaluation to scored token sequences.

use super::table_texts::of_another_kind;
use super::task::TaskInput;
use crate::error::TaskError;
use calib::data::{Content, DataError, Remark, Table, Texts};
use calib::inputs::check_tokens;
use calib::model::Model;
use calib::sampling::{TextMode, split_documents, text_sequences};
use calib::separator::separator;
use calib::tokenizer::Tokenizer;
use serde::Deserialize;

/// Window length where neither recipe nor model gives one, and the longest default.
pub const LENGTH: usize = 2048;
/// Bytes of a text that are tried before any work, and for each token of a sequence.
const TRIED_BYTES: usize = 1 << 16;
const TRIED_BYTES_PER_TOKEN: usize = 16;
/// Bytes of text a token stands for, where it only has to be known roughly.
pub const BYTES_PER_TOKEN: usize = 3;

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
    /// Absent: documents where the text shows a separator, else windows.
    mode: Option<Mode>,
    /// Tokens of one window, or at most of one document; the model's positions up to 2048 unless given.
    pub(super) sequence_length: Option<usize>,
    /// Tokens between the starts of two windows; `sequence_length` unless given. Every token is scored
    /// once: in overlapping windows only those the window before did not hold.
    stride: Option<usize>,
    /// What stands between documents; `<|endoftext|>` unless given.
    separator: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    /// The whole text without special tokens, in windows of equal length.
    Windows,
    /// Each document after a begin-of-sequence token, cut at the length.
    Documents,
}

impl SequenceOptions {
    /// The keys as [`super::Task::parameters`] lists them.
    pub(super) const KEYS: &'static [(&'static str, &'static str)] = &[
        (
            "mode",
            "`windows` over the whole text, or `documents`; by default as the text shows separators or not",
        ),
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
            (Some(Mode::Documents), Some(stride), _) => value(
                "stride",
                "none with `mode = \"documents\"`",
                stride.to_string(),
            ),
            (None | Some(Mode::Windows), _, Some(separator)) => value(
                "separator",
                "none without `mode = \"documents\"`",
                format!("`{separator}`"),
            ),
            _ => Ok(()),
        }
    }

    /// How `text` is cut. A text that shows a separator is judged document by document unless the recipe says
    /// otherwise, the model does not know where a document begins, or most of the text would be cut away; the reader
    /// is told.
    fn text_mode(
        &self,
        text: &str,
        length: usize,
        tokenizer: &Tokenizer,
        input: &TaskInput<'_>,
    ) -> TextMode {
        let windows = TextMode::Windows {
            stride: self.stride,
        };
        if self.mode == Some(Mode::Documents) {
            let given = self.separator.clone();
            return TextMode::Documents {
                separator: given.unwrap_or_else(|| "<|endoftext|>".to_owned()),
            };
        }
        let Some(separator) = separator(text, Some(tokenizer)) else {
            return windows;
        };
        let kept: usize = split_documents(text, &separator)
            .map(|document| document.len().min(BYTES_PER_TOKEN * length))
            .sum();
        let why_not = if self.mode.is_some() || self.stride.is_some() {
            Some("as the recipe says")
        } else if tokenizer.begin().is_none() {
            Some("because the tokenizer names no begin-of-sequence token")
        } else if 2 * kept < text.len() {
            Some("because most of them are longer than a sequence")
        } else {
            None
        };
        let how = match why_not {
            Some(reason) => format!(
                "scored as one text in windows across them, {reason}; `mode = \"documents\"` scores each by itself"
            ),
            None => "each is scored by itself, after a begin-of-sequence token; `mode = \"windows\"` scores one text"
                .to_owned(),
        };
        input.progress.remark(&Remark::Note(format!(
            "`{}` holds documents between `{separator}`: {how}",
            input.origin
        )));
        match why_not {
            Some(_) => windows,
            None => TextMode::Documents { separator },
        }
    }

    /// Tokens of one sequence at most.
    fn length(&self, task: &'static str, input: &TaskInput<'_>) -> Result<usize, TaskError> {
        let positions = input.subject.model().and_then(Model::max_positions);
        let default = positions.map_or(LENGTH, |positions| positions.min(LENGTH));
        let length = self.sequence_length.unwrap_or(default);
        match positions.filter(|&positions| length > positions) {
            Some(positions) => Err(TaskError::Value {
                task,
                key: "sequence_length",
                expected: format!("at most the {positions} positions of the model"),
                found: length.to_string(),
            }),
            None => Ok(length),
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
        let length = options.length(task, input)?;
        let mut ids = token_ids(task, options, input, length)?;
        ids.retain(|ids| ids.len() > 1);
        if ids.is_empty() {
            return Err(DataError::TooShort {
                origin: input.origin.to_owned(),
                needed: length,
                found: 0,
            }
            .into());
        }
        ids.truncate(input.taken(ids.len(), "sequences")?);
        let rows = input.subject.model().and_then(Model::vocabulary);
        let tokenizer = input.subject.inputs.tokenizer.as_ref();
        check_tokens(&ids, rows, tokenizer, input.origin)?;
        // An overlapping window scores what the one before did not hold.
        let held = length
            .saturating_sub(options.stride.unwrap_or(length))
            .max(1);
        let first = (0..ids.len())
            .map(|at| if at == 0 { 1 } else { held })
            .collect();
        Ok(Self { ids, first })
    }

    /// Makes the first sequences of a text, or all where that is needed to know that there is one and that all its
    /// tokens have a vector.
    pub(super) fn check(
        task: &'static str,
        options: &SequenceOptions,
        input: &TaskInput<'_>,
    ) -> Result<(), TaskError> {
        let length = options.length(task, input)?;
        let rows = input.subject.model().and_then(Model::vocabulary);
        let tokenizer = input.subject.inputs.tokenizer.as_ref();
        let beyond = matches!((rows, tokenizer), (Some(rows), Some(t)) if t.reaches(rows));
        if let Content::Text(text) = input.content
            && !beyond
        {
            let end = text.floor_char_boundary(TRIED_BYTES.max(TRIED_BYTES_PER_TOKEN * length));
            let content = Content::Text(text[..end].to_owned());
            let beginning = TaskInput {
                content: &content,
                limit: usize::MAX,
                ..*input
            };
            // What is too short at the beginning may be long enough as a whole.
            match Self::of(task, options, &beginning) {
                Err(TaskError::Data(DataError::TooShort { .. })) if end < text.len() => {}
                tried => return tried.map(drop),
            }
        }
        Self::of(task, options, input).map(drop)
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
        let mode = options.text_mode(text, length, tokenizer, input);
        text_sequences(text, &mode, length, tokenizer, input.origin)
    };
    match input.content {
        Content::Text(text) => Ok(sequences(text, tokenizer()?)?),
        // Rows are documents of their own, or paragraphs of one text.
        Content::Table(table) if options.mode == Some(Mode::Documents) => {
            let tokenizer = tokenizer()?;
            let begin = tokenizer.begin().ok_or(DataError::NoBeginToken)?;
            let row = |text: &str| {
                let mut ids = vec![begin];
                ids.extend(tokenizer.encode(text.trim())?);
                ids.truncate(length);
                Ok(ids)
            };
            texts(table, input)?.texts().map(row).collect()
        }
        Content::Table(table) => {
            let rows: Vec<&str> = texts(table, input)?.texts().collect();
            Ok(sequences(&rows.join("\n\n"), tokenizer()?)?)
        }
        Content::Tokens(sequences) => Ok(sequences
            .iter()
            .map(|ids| ids[..ids.len().min(length)].to_vec())
            .collect()),
        Content::Chats(_) | Content::Images(_) => {
            Err(of_another_kind(input, "text", input.content))
        }
    }
}

/// The rows of a table that have text; says how many have not.
fn texts<'a>(table: &'a Table, input: &TaskInput<'_>) -> Result<Texts<'a>, TaskError> {
    let texts = table.texts()?;
    if let Some(remark) = texts.remark() {
        input.progress.remark(&remark);
    }
    Ok(texts)
}
