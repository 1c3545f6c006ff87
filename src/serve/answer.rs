//! What is written back: the pieces of a text, at once or as they come.

use super::failure::Failure;
use super::job::{Event, Scores};
use super::request::Shape;
use super::served::Decoding;
use super::token_names::{NamedScore, TokenNames, figure};
use calib::generation::FinishReason;
use serde_json::{Map, Value, json};

/// Writes the answer to one request.
pub(super) struct Writer {
    pub(super) id: String,
    pub(super) created: u64,
    pub(super) shape: Shape,
    pub(super) scores: Scores,
    texts: Vec<Text>,
    prompt_tokens: usize,
}

/// A text of the answer.
struct Text {
    names: TokenNames,
    /// Tokens whose text is not complete.
    waiting: Vec<NamedScore>,
    tokens: usize,
    has_ended: bool,
}

/// Part of a text.
#[derive(Debug, Default)]
pub(super) struct Piece {
    index: usize,
    text: String,
    scores: Vec<NamedScore>,
    is_first: bool,
    finish: Option<FinishReason>,
}

impl Writer {
    /// Begins with texts that continue `prompts`.
    pub(super) fn new(
        (id, created): (String, u64),
        shape: Shape,
        scores: Scores,
        prompts: &[&[u32]],
    ) -> Self {
        let (has_echo, by_number) = match &shape {
            Shape::Completion { echo, by_number } => (echo.is_some(), *by_number),
            Shape::Chat => (false, false),
        };
        let texts = prompts.iter().map(|prompt| {
            let previous = prompt.last().copied().filter(|_| !has_echo);
            Text {
                names: TokenNames::new(previous, by_number),
                waiting: Vec::new(),
                tokens: 0,
                has_ended: false,
            }
        });
        Self {
            id,
            created,
            texts: texts.collect(),
            scores,
            shape,
            prompt_tokens: prompts.iter().map(|prompt| prompt.len()).sum(),
        }
    }

    /// Whether every text has ended.
    pub(super) fn is_complete(&self) -> bool {
        self.texts.iter().all(|text| text.has_ended)
    }

    /// What `event`, of text `index`, adds to the answer; nothing while a character is not complete.
    pub(super) fn piece(
        &mut self,
        index: usize,
        event: Event,
        model: &Decoding,
    ) -> Result<Option<Piece>, Failure> {
        let of_chat = matches!(self.shape, Shape::Chat);
        let Some(text) = self.texts.get_mut(index) else {
            return Ok(None);
        };
        let mut piece = Piece {
            index,
            ..Piece::default()
        };
        match event {
            Event::Began(prompt) => {
                piece.is_first = true;
                if let Shape::Completion {
                    echo: Some(echo), ..
                } = &mut self.shape
                {
                    piece.text = std::mem::take(&mut echo[index]);
                }
                let scored = prompt.iter();
                piece.scores = scored
                    .map(|scored| text.names.named(scored, &model.tokenizer))
                    .collect();
                let says_something = of_chat || !piece.text.is_empty() || !piece.scores.is_empty();
                return Ok(says_something.then_some(piece));
            }
            Event::Wrote {
                text: shown,
                token,
                is_end,
            } => {
                text.tokens += 1;
                // What ends an answer is none of its tokens; a completion is scored to the end.
                if self.scores.of_new && !(is_end && of_chat) {
                    let named = text.names.named(&token, &model.tokenizer);
                    text.waiting.push(named);
                }
                if shown.is_empty() {
                    return Ok(None);
                }
                piece.text = shown;
            }
            Event::Ended(finish) => {
                text.has_ended = true;
                piece.finish = Some(finish);
            }
            Event::Failed(failure) => return Err(failure),
        }
        piece.scores = std::mem::take(&mut text.waiting);
        Ok(Some(piece))
    }

    /// The whole answer.
    pub(super) fn whole(&self, pieces: Vec<Piece>, model: &str) -> Value {
        let mut texts: Vec<Piece> = Vec::new();
        texts.resize_with(self.texts.len(), Piece::default);
        for piece in pieces {
            let whole = &mut texts[piece.index];
            whole.index = piece.index;
            whole.text.push_str(&piece.text);
            whole.scores.extend(piece.scores);
            whole.finish = piece.finish.or(whole.finish);
        }
        let choices: Vec<Value> = texts.iter().map(|text| self.choice(text, false)).collect();
        let kind = match self.shape {
            Shape::Completion { .. } => "text_completion",
            Shape::Chat => "chat.completion",
        };
        let mut answer = self.around(kind, Value::from(choices), model);
        answer.insert("usage".to_owned(), self.usage());
        Value::Object(answer)
    }

    /// One piece of a stream; `counts_tokens` says that the numbers of tokens come at its end.
    pub(super) fn chunk(&self, piece: &Piece, model: &str, counts_tokens: bool) -> Value {
        let choices = json!([self.choice(piece, true)]);
        let mut chunk = self.around(self.kind_of_chunk(), choices, model);
        if counts_tokens {
            chunk.insert("usage".to_owned(), Value::Null);
        }
        Value::Object(chunk)
    }

    /// The numbers of tokens, as the last piece of a stream.
    pub(super) fn count(&self, model: &str) -> Value {
        let mut chunk = self.around(self.kind_of_chunk(), json!([]), model);
        chunk.insert("usage".to_owned(), self.usage());
        Value::Object(chunk)
    }

    fn kind_of_chunk(&self) -> &'static str {
        match self.shape {
            Shape::Completion { .. } => "text_completion",
            Shape::Chat => "chat.completion.chunk",
        }
    }

    fn around(&self, kind: &str, choices: Value, model: &str) -> Map<String, Value> {
        let mut answer = Map::new();
        answer.insert("id".to_owned(), Value::from(self.id.as_str()));
        answer.insert("object".to_owned(), Value::from(kind));
        answer.insert("created".to_owned(), Value::from(self.created));
        answer.insert("model".to_owned(), Value::from(model));
        answer.insert("choices".to_owned(), choices);
        answer
    }

    fn usage(&self) -> Value {
        let new: usize = self.texts.iter().map(|text| text.tokens).sum();
        json!({
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": new,
            "total_tokens": self.prompt_tokens + new,
        })
    }

    fn choice(&self, piece: &Piece, is_chunk: bool) -> Value {
        let finish = piece.finish.map(FinishReason::name);
        match &self.shape {
            Shape::Completion { .. } => json!({
                "index": piece.index,
                "text": piece.text,
                "logprobs": self.scores.of_new.then(|| lists(&piece.scores)),
                "finish_reason": finish,
            }),
            Shape::Chat => {
                let scores = self.scores.of_new.then(|| entries(&piece.scores));
                let (key, said) = if !is_chunk {
                    (
                        "message",
                        json!({"role": "assistant", "content": piece.text}),
                    )
                } else if piece.is_first {
                    ("delta", json!({"role": "assistant", "content": ""}))
                } else if piece.text.is_empty() {
                    ("delta", json!({}))
                } else {
                    ("delta", json!({"content": piece.text}))
                };
                json!({
                    "index": piece.index,
                    key: said,
                    "logprobs": scores,
                    "finish_reason": finish,
                })
            }
        }
    }
}

/// Scores as `/v1/completions` has them.
fn lists(scores: &[NamedScore]) -> Value {
    let each =
        |of: &dyn Fn(&NamedScore) -> Value| -> Vec<Value> { scores.iter().map(of).collect() };
    json!({
        "tokens": each(&|score| Value::from(score.name.as_str())),
        "token_logprobs": each(&|score| score.log_probability.map_or(Value::Null, figure)),
        "top_logprobs": each(&likeliest),
        "text_offset": each(&|score| Value::from(score.offset)),
    })
}

/// The likeliest tokens and the one that came. Of tokens that are written alike the likelier counts.
fn likeliest(score: &NamedScore) -> Value {
    let Some(own) = score.log_probability else {
        return Value::Null;
    };
    let own = std::iter::once((&score.name, own));
    let top = score.top.iter().map(|(name, log)| (name, *log));
    let mut all = Map::new();
    for (name, log) in top.chain(own) {
        all.entry(name.as_str()).or_insert_with(|| figure(log));
    }
    Value::Object(all)
}

/// Scores as `/v1/chat/completions` has them.
fn entries(scores: &[NamedScore]) -> Value {
    let entry = |name: &str, log: Option<f64>| {
        // Part of a character has bytes that are not known here.
        let bytes = (!name.contains('\u{fffd}')).then(|| name.as_bytes().to_vec());
        json!({"token": name, "logprob": log.map(figure), "bytes": bytes})
    };
    let content = scores.iter().map(|score| {
        let mut found = entry(&score.name, score.log_probability);
        let top = score.top.iter().map(|(name, log)| entry(name, Some(*log)));
        found["top_logprobs"] = top.collect();
        found
    });
    json!({"content": content.collect::<Vec<Value>>()})
}
