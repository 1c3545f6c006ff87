//! `/v1/chat/completions`: a conversation, rendered by the model's template and answered.

use super::drawing::{sampling, stops, streaming};
use super::failure::Failure;
use super::fields::{Fields, wrong};
use super::job::Scores;
use super::request::{Shape, TextRequest};
use super::served::Decoding;
use calib::generation::Continuation;
use serde_json::{Map, Value, json};

/// Most of the likeliest tokens beside each, as the API has it.
const MOST_TOP: usize = 20;

/// Reads a request.
///
/// # Errors
/// A model without a template, fields that are not known or cannot be honoured, a conversation the template refuses.
pub(super) fn read(body: &[u8], model: &Decoding) -> Result<TextRequest, Failure> {
    let mut fields = Fields::of_body(body)?;
    model.check_name(&mut fields)?;
    let messages = fields
        .list("messages")?
        .filter(|messages| !messages.is_empty())
        .ok_or_else(|| Failure::field("messages", "`messages`: expected a list of some"))?;
    let messages: Vec<Value> = messages
        .into_iter()
        .map(message)
        .collect::<Result<_, _>>()?;
    let tools = tools(&mut fields)?;
    let more = match fields.take("chat_template_kwargs") {
        None => Map::new(),
        Some(Value::Object(more)) => more,
        Some(other) => return Err(wrong("chat_template_kwargs", "an object", &other)),
    };
    let wants_scores = fields.flag("logprobs")?;
    let top = fields.count("top_logprobs", MOST_TOP)?;
    if top.is_some() && !wants_scores {
        let message = "`top_logprobs` means something with `logprobs` only";
        return Err(Failure::field("top_logprobs", message));
    }
    let (is_stream, counts_tokens) = streaming(&mut fields)?;
    let max_tokens = max_tokens(&mut fields, model.max_tokens)?;
    let sampling = sampling(&mut fields, &model.sampling)?;
    let stops = stops(&mut fields)?;
    fields.only(&[
        ("n", &[json!(1)]),
        ("logit_bias", &[json!({})]),
        ("response_format", &[json!({"type": "text"})]),
        ("modalities", &[json!(["text"])]),
        ("parallel_tool_calls", &[json!(true)]),
        ("store", &[json!(false)]),
    ])?;
    // Names whoever asks, which changes no answer.
    fields.text("user")?;
    fields.end()?;
    let prompt = model.conversation(&messages, tools.as_ref(), &more)?;
    model.check_prompt("messages", &prompt, max_tokens)?;
    Ok(TextRequest {
        asked: vec![Continuation {
            prompt,
            max_tokens,
            sampling,
            stops,
        }],
        scores: Scores {
            of_new: wants_scores,
            of_prompt: false,
            top: top.unwrap_or(0),
        },
        shape: Shape::Chat,
        is_stream,
        counts_tokens,
    })
}

/// The limit under either of its names.
fn max_tokens(fields: &mut Fields, most: usize) -> Result<usize, Failure> {
    let old = fields.count("max_tokens", most)?;
    let new = fields.count("max_completion_tokens", most)?;
    match (old, new) {
        (Some(old), Some(new)) if old != new => Err(Failure::field(
            "max_tokens",
            "`max_tokens` and `max_completion_tokens` say different things",
        )),
        (old, new) => Ok(new.or(old).unwrap_or(most)),
    }
}

/// The tools the template is told of; none where the request wants none to be used.
fn tools(fields: &mut Fields) -> Result<Option<Value>, Failure> {
    let tools = fields.list("tools")?;
    let choice = fields.take("tool_choice");
    if let Some(odd) = tools.iter().flatten().find(|tool| !tool.is_object()) {
        return Err(wrong("tools", "a list of objects", odd));
    }
    match choice {
        None => {}
        Some(choice) if choice == "auto" => {}
        Some(choice) if choice == "none" => return Ok(None),
        Some(other) => {
            return Err(Failure::unknown_field(
                "tool_choice",
                format!(
                    "`tool_choice`: this server can honour \"auto\" or \"none\" only, found {other}"
                ),
            ));
        }
    }
    Ok(tools.filter(|tools| !tools.is_empty()).map(Value::from))
}

/// A message as templates expect it: the parts of a text joined.
fn message(message: Value) -> Result<Value, Failure> {
    let Value::Object(mut message) = message else {
        return Err(wrong("messages", "a list of objects", &message));
    };
    if !message.get("role").is_some_and(Value::is_string) {
        return Err(Failure::field(
            "messages",
            "`messages`: expected a `role` in each",
        ));
    }
    let content = match message.get("content") {
        // What an assistant said with tools alone.
        None | Some(Value::Null | Value::String(_)) => return Ok(Value::Object(message)),
        Some(Value::Array(parts)) => parts.iter().map(part).collect::<Result<String, _>>()?,
        Some(other) => {
            return Err(wrong("messages", "a `content` that is text", other));
        }
    };
    message.insert("content".to_owned(), Value::String(content));
    Ok(Value::Object(message))
}

fn part(part: &Value) -> Result<&str, Failure> {
    let text = part["text"].as_str().filter(|_| part["type"] == "text");
    text.ok_or_else(|| {
        Failure::field(
            "messages",
            format!(
                "`messages`: expected parts of type `text`, found {}",
                part["type"]
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_text_are_joined_and_pictures_refused() {
        let parts = json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]);
        let found = message(json!({"role": "user", "content": parts, "name": "x"})).unwrap();
        assert_eq!(found, json!({"role": "user", "content": "ab", "name": "x"}));
        let picture = json!([{"type": "image_url", "image_url": {"url": "x"}}]);
        assert!(message(json!({"role": "user", "content": picture})).is_err());
        assert!(message(json!({"content": "x"})).is_err());
        assert!(message(json!("x")).is_err());
    }

    #[test]
    fn tools_that_are_not_to_be_used_are_not_shown() {
        let of = |value: Value| tools(&mut Fields::of(value, "").unwrap());
        let tool = json!([{"type": "function"}]);
        assert_eq!(of(json!({"tools": tool})).unwrap(), Some(tool.clone()));
        let none = json!({"tools": tool, "tool_choice": "none"});
        assert_eq!(of(none).unwrap(), None);
        assert!(of(json!({"tools": tool, "tool_choice": "required"})).is_err());
        assert!(of(json!({"tools": [3]})).is_err());
    }
}
