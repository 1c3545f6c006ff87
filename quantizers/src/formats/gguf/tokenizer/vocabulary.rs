//! The tokens of a GGUF file with their kinds and scores.

use super::super::header::Header;
use serde_json::{Map, Value, json};

/// What a token is: `tokenizer.ggml.token_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Normal,
    Unknown,
    Control,
    UserDefined,
    Unused,
    Byte,
}

/// Tokens by id.
pub(super) struct Vocabulary {
    pub(super) tokens: Vec<String>,
    pub(super) kinds: Vec<Kind>,
}

impl Vocabulary {
    /// Reads tokens and kinds; tokens are normal where the file does not say.
    pub(super) fn read(header: &Header<'_>) -> Result<Self, String> {
        let listed = header
            .array("tokenizer.ggml.tokens")
            .ok_or("it has no `tokenizer.ggml.tokens`")?;
        let tokens: Vec<String> = listed.texts().map(std::borrow::Cow::into_owned).collect();
        let kinds = match header.array("tokenizer.ggml.token_type") {
            None => vec![Kind::Normal; tokens.len()],
            Some(kinds) if kinds.len() == tokens.len() => kinds
                .elements()
                .map(|kind| Kind::of(kind.number()))
                .collect(),
            Some(kinds) => {
                return Err(format!(
                    "tokenizer.ggml.token_type: expected {} entries, found {}",
                    tokens.len(),
                    kinds.len()
                ));
            }
        };
        Ok(Self { tokens, kinds })
    }

    /// The token that `tokenizer.ggml.<key>_token_id` names.
    pub(super) fn named(&self, header: &Header<'_>, key: &str) -> Option<(u64, &str)> {
        let id = header.number(&format!("tokenizer.ggml.{key}_token_id"))?;
        let token = self.tokens.get(usize::try_from(id).ok()?)?;
        Some((id, token))
    }

    /// The tokens that are found in a text before it is split, as `tokenizer.json` lists them.
    pub(super) fn added(&self) -> Vec<Value> {
        let all = self.tokens.iter().zip(&self.kinds).enumerate();
        let added = all.filter(|(_, (_, kind))| {
            matches!(kind, Kind::Control | Kind::Unknown | Kind::UserDefined)
        });
        added
            .map(|(id, (token, kind))| {
                json!({
                    "id": id,
                    "content": token,
                    "single_word": false,
                    "lstrip": false,
                    "rstrip": false,
                    "normalized": false,
                    "special": *kind != Kind::UserDefined,
                })
            })
            .collect()
    }

    /// Ids by token.
    pub(super) fn ids(&self) -> Map<String, Value> {
        let tokens = self.tokens.iter().enumerate();
        tokens
            .map(|(id, token)| (token.clone(), json!(id)))
            .collect()
    }
}

impl Kind {
    fn of(number: Option<u64>) -> Self {
        match number {
            Some(2) => Self::Unknown,
            Some(3) => Self::Control,
            Some(4) => Self::UserDefined,
            Some(5) => Self::Unused,
            Some(6) => Self::Byte,
            _ => Self::Normal,
        }
    }
}
