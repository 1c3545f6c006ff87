//! From the data of a perplexity evaluation to scored token sequences.

use super::perplexity::NAME;
use super::{Mode, TaskError, TaskSpec};
use crate::subject::Subject;
use calib::data::{Content, DataError};
use calib::model::Model;
use calib::sampling::{TextMode, text_sequences};

/// Window length where neither recipe nor model gives one, and the longest default.
const LENGTH: usize = 2048;

/// Token sequences and, for each, the first position whose token is scored.
pub(super) struct Sequences {
    /// At least two tokens each.
    pub ids: Vec<Vec<u32>>,
    /// At least 1 each: nothing predicts the first token.
    pub first: Vec<usize>,
}

impl Sequences {
    /// Windows or documents of `content`, as `spec` says.
    pub(super) fn of(
        subject: &Subject<'_>,
        spec: &TaskSpec,
        content: &Content,
    ) -> Result<Self, TaskError> {
        let positions = subject.model().and_then(Model::max_positions);
        let default = positions.map_or(LENGTH, |positions| positions.min(LENGTH));
        let length = spec.sequence_length.unwrap_or(default);
        if let Some(positions) = positions.filter(|&positions| length > positions) {
            return Err(TaskError::Value {
                task: spec.task.clone(),
                key: "sequence_length",
                expected: format!("at most the {positions} positions of the model"),
                found: length.to_string(),
            });
        }
        let mut ids = token_ids(subject, spec, content, length)?;
        ids.retain(|ids| ids.len() > 1);
        ids.truncate(spec.limit.unwrap_or(usize::MAX));
        if ids.is_empty() {
            let origin = spec.data.clone();
            return Err(DataError::TooShort {
                origin,
                needed: length,
                found: 0,
            }
            .into());
        }
        // An overlapping window scores what the one before did not hold.
        let held = length.saturating_sub(spec.stride.unwrap_or(length)).max(1);
        let first = (0..ids.len())
            .map(|at| if at == 0 { 1 } else { held })
            .collect();
        Ok(Self { ids, first })
    }
}

fn token_ids(
    subject: &Subject<'_>,
    spec: &TaskSpec,
    content: &Content,
    length: usize,
) -> Result<Vec<Vec<u32>>, TaskError> {
    let tokenizer = || {
        let tokenizer = subject.inputs.tokenizer.as_ref();
        tokenizer.ok_or(TaskError::MissingFile {
            task: NAME,
            file: "tokenizer.json",
        })
    };
    let separator = || {
        spec.separator
            .clone()
            .unwrap_or_else(|| "<|endoftext|>".to_owned())
    };
    let documents = spec.mode.unwrap_or_default() == Mode::Documents;
    let windows = TextMode::Windows {
        stride: spec.stride,
    };
    match content {
        Content::Text(text) => {
            let mode = if documents {
                TextMode::Documents {
                    separator: separator(),
                }
            } else {
                windows
            };
            Ok(text_sequences(
                text,
                &mode,
                length,
                tokenizer()?,
                &spec.data,
            )?)
        }
        // Rows are documents of their own, or paragraphs of one text.
        Content::Table(table) if documents => {
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
        Content::Table(table) => {
            let text = table.texts()?.join("\n\n");
            Ok(text_sequences(
                &text,
                &windows,
                length,
                tokenizer()?,
                &spec.data,
            )?)
        }
        Content::Tokens(sequences) => Ok(sequences
            .iter()
            .map(|ids| ids[..ids.len().min(length)].to_vec())
            .collect()),
        Content::Images(_) => {
            let origin = spec.data.clone();
            Err(DataError::Kind {
                origin,
                expected: "text",
                found: content.kind(),
            }
            .into())
        }
    }
}
