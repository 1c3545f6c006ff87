//! What is served: a decoder or an encoder, and what a request needs to know of it.

use super::failure::Failure;
use super::fields::Fields;
use super::job::{EmbeddingJob, TextJob};
use super::queue::Queue;
use calib::generation::Sampling;
use calib::tokenizer::Tokenizer;
use serde_json::{Map, Value};

/// A model that is served.
pub(super) enum Served {
    Decoder(Decoding),
    Encoder(Encoding),
}

/// What is known of a decoder outside the thread that runs it.
pub(super) struct Decoding {
    /// Its name in requests.
    pub(super) name: String,
    pub(super) tokenizer: Tokenizer,
    /// Size of the vocabulary.
    pub(super) vocabulary: usize,
    /// Most tokens of a text, the new ones included.
    pub(super) limit: Option<usize>,
    /// Most new tokens of a text.
    pub(super) max_tokens: usize,
    /// How tokens are drawn where a request does not say.
    pub(super) sampling: Sampling,
    pub(super) queue: Queue<TextJob>,
}

/// What is known of an encoder outside the thread that runs it.
pub(super) struct Encoding {
    /// Its name in requests.
    pub(super) name: String,
    pub(super) tokenizer: Tokenizer,
    /// Size of the vocabulary.
    pub(super) vocabulary: usize,
    /// Most tokens of a text.
    pub(super) limit: Option<usize>,
    pub(super) queue: Queue<EmbeddingJob>,
}

impl Served {
    /// Its name in requests.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Decoder(model) => &model.name,
            Self::Encoder(model) => &model.name,
        }
    }

    /// Most tokens of a text.
    pub(super) fn limit(&self) -> Option<usize> {
        match self {
            Self::Decoder(model) => model.limit,
            Self::Encoder(model) => model.limit,
        }
    }

    /// Texts that wait.
    pub(super) fn waiting(&self) -> usize {
        match self {
            Self::Decoder(model) => model.queue.len(),
            Self::Encoder(model) => model.queue.len(),
        }
    }

    /// Whether it answers nothing any more.
    pub(super) fn is_closed(&self) -> bool {
        match self {
            Self::Decoder(model) => model.queue.is_closed(),
            Self::Encoder(model) => model.queue.is_closed(),
        }
    }

    /// Takes no more requests.
    pub(super) fn close(&self) {
        match self {
            Self::Decoder(model) => model.queue.close(),
            Self::Encoder(model) => model.queue.close(),
        }
    }

    /// The decoder.
    pub(super) fn decoder(&self) -> Result<&Decoding, Failure> {
        match self {
            Self::Decoder(model) => Ok(model),
            Self::Encoder(model) => Err(Failure::field(
                "model",
                format!("`{}` embeds texts and continues none", model.name),
            )),
        }
    }

    /// The encoder.
    pub(super) fn encoder(&self) -> Result<&Encoding, Failure> {
        match self {
            Self::Encoder(model) => Ok(model),
            Self::Decoder(model) => Err(Failure::field(
                "model",
                format!("`{}` continues texts and embeds none", model.name),
            )),
        }
    }
}

impl Decoding {
    /// Takes the name of the model, which may be left out.
    pub(super) fn check_name(&self, fields: &mut Fields) -> Result<(), Failure> {
        check_name(fields, &self.name)
    }

    /// The tokens of a text that is to be continued.
    pub(super) fn prompt_tokens(&self, text: &str) -> Result<Vec<u32>, Failure> {
        let ids = self.tokenizer.encode_prompt(text);
        ids.map_err(|error| Failure::field("prompt", error.to_string()))
    }

    /// The text of tokens.
    pub(super) fn decode(&self, tokens: &[u32]) -> Result<String, Failure> {
        check_tokens("prompt", tokens, self.vocabulary)?;
        let text = self.tokenizer.decode(tokens);
        text.map_err(|error| Failure::field("prompt", error.to_string()))
    }

    /// The tokens of a conversation, up to where the model is to answer.
    pub(super) fn conversation(
        &self,
        messages: &[Value],
        tools: Option<&Value>,
        more: &Map<String, Value>,
    ) -> Result<Vec<u32>, Failure> {
        let template = self.tokenizer.chat_template().ok_or_else(|| {
            Failure::field(
                "model",
                format!(
                    "`{}` has no chat template: ask `/v1/completions` to continue a text",
                    self.name
                ),
            )
        })?;
        let renderer = template
            .compile()
            .map_err(|error| Failure::server(error.to_string()))?;
        let text = renderer.render_with(messages, true, tools, more);
        let text = text.map_err(|error| Failure::field("messages", error.to_string()))?;
        // The template writes special tokens itself.
        let ids = self.tokenizer.encode(&text);
        ids.map_err(|error| Failure::field("messages", error.to_string()))
    }

    /// Checks that the model takes `prompt`, the value of `field`, with room for what is to follow.
    pub(super) fn check_prompt(
        &self,
        field: &str,
        prompt: &[u32],
        max_tokens: usize,
    ) -> Result<(), Failure> {
        if prompt.is_empty() {
            return Err(Failure::field(
                field,
                format!("`{field}`: expected at least one token, found none"),
            ));
        }
        check_tokens(field, prompt, self.vocabulary)?;
        let found = prompt.len() + max_tokens.min(1);
        match self.limit {
            Some(limit) if found > limit => Err(Failure::too_long(
                field,
                format!(
                    "`{field}`: the model takes {limit} tokens with at least one of the answer, found {}",
                    prompt.len()
                ),
            )),
            _ => Ok(()),
        }
    }
}

impl Encoding {
    /// Takes the name of the model, which may be left out.
    pub(super) fn check_name(&self, fields: &mut Fields) -> Result<(), Failure> {
        check_name(fields, &self.name)
    }

    /// Checks that the model takes `tokens`.
    pub(super) fn check(&self, tokens: &[u32]) -> Result<(), Failure> {
        if tokens.is_empty() {
            let message = "`input`: expected at least one token in each text, found none";
            return Err(Failure::field("input", message));
        }
        check_tokens("input", tokens, self.vocabulary)?;
        match self.limit {
            Some(limit) if tokens.len() > limit => Err(Failure::too_long(
                "input",
                format!(
                    "`input`: the model takes {limit} tokens, found {}",
                    tokens.len()
                ),
            )),
            _ => Ok(()),
        }
    }
}

fn check_name(fields: &mut Fields, name: &str) -> Result<(), Failure> {
    match fields.text("model")? {
        Some(found) if found != name => Err(Failure::model(&found, name)),
        _ => Ok(()),
    }
}

fn check_tokens(field: &str, tokens: &[u32], vocabulary: usize) -> Result<(), Failure> {
    match tokens.iter().find(|id| **id as usize >= vocabulary) {
        Some(found) => Err(Failure::field(
            field,
            format!("`{field}`: expected token ids below {vocabulary}, found {found}"),
        )),
        None => Ok(()),
    }
}
