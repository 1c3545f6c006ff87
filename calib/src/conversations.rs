//! From conversations to token sequences: rendered with the model's chat template, packed or one by one.

use crate::data::{Chat, Chats, DataError};
use crate::sampling::{Selection, Template, TextMode, windows};
use crate::tokenizer::Tokenizer;

/// How sequences are made of conversations.
pub(crate) struct Packing<'a> {
    /// Windows pack conversations one after the other; documents keep them apart, cut at the length.
    pub(crate) mode: &'a TextMode,
    /// Tokens of a sequence.
    pub(crate) length: usize,
    /// Sequences wanted.
    pub(crate) samples: usize,
    /// Which of them.
    pub(crate) selection: Selection,
    /// Whether the model's template renders them.
    pub(crate) template: Template,
}

/// Sequences of `chats`; where the first are wanted, no more conversations are encoded than those need.
///
/// A template writes the special tokens itself, so none are added to what it rendered.
///
/// # Errors
/// A model without a template, a template that refuses a conversation, too few tokens for one sequence.
pub(crate) fn sequences(
    chats: &Chats,
    tokenizer: &Tokenizer,
    packing: &Packing<'_>,
) -> Result<Vec<Vec<u32>>, DataError> {
    let template = match packing.template {
        Template::None => None,
        Template::Chat => {
            let template = tokenizer.chat_template();
            Some(template.ok_or_else(|| DataError::NoTemplate {
                origin: chats.origin().to_owned(),
            })?)
        }
    };
    let refused = |line: Option<usize>| {
        move |source| DataError::Template {
            origin: chats.origin().to_owned(),
            line,
            source,
        }
    };
    let renderer = template
        .map(|template| template.compile().map_err(refused(None)))
        .transpose()?;
    let ids = |chat: &Chat| -> Result<Vec<u32>, DataError> {
        match &renderer {
            Some(renderer) => {
                let text = renderer.render(&chat.messages, !chat.is_answered());
                Ok(tokenizer.encode(&text.map_err(refused(Some(chat.line)))?)?)
            }
            None => Ok(tokenizer.encode_special(&chat.plain(), None)?),
        }
    };
    let length = packing.length;
    let first = packing.selection == Selection::First;
    let (sequences, found) = match packing.mode {
        TextMode::Windows { stride } => {
            let stride = stride.unwrap_or(length);
            let wanted = (packing.samples.saturating_sub(1))
                .saturating_mul(stride)
                .saturating_add(length);
            let mut stream: Vec<u32> = Vec::new();
            for chat in chats.rows() {
                if first && stream.len() >= wanted {
                    break;
                }
                stream.extend(ids(chat)?);
            }
            (windows(&stream, length, stride), stream.len())
        }
        TextMode::Documents { .. } => {
            let mut apart: Vec<Vec<u32>> = Vec::new();
            for chat in chats.rows() {
                if first && apart.len() >= packing.samples {
                    break;
                }
                let mut ids = ids(chat)?;
                ids.truncate(length);
                apart.extend((ids.len() > 1).then_some(ids));
            }
            let found = apart.len();
            (apart, found)
        }
    };
    if sequences.is_empty() {
        return Err(DataError::TooShort {
            origin: chats.origin().to_owned(),
            needed: length,
            found,
        });
    }
    Ok(sequences)
}
