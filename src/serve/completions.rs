//! `/v1/completions`: a prompt as text or as tokens, continued.

use super::drawing::{sampling, stops, streaming};
use super::failure::Failure;
use super::fields::{Fields, wrong};
use super::job::Scores;
use super::request::{Shape, TextRequest};
use super::served::Decoding;
use calib::generation::Continuation;
use serde_json::{Value, json};

/// Tokens of an answer where the request does not say, as the API has it.
const TOKENS: usize = 16;
/// Most of the likeliest tokens beside each.
const MOST_TOP: usize = 100;
/// Most texts of one request.
const MOST_PROMPTS: usize = 1024;

/// Reads a request.
///
/// # Errors
/// Fields that are not known or cannot be honoured, prompts that are too long.
pub(super) fn read(body: &[u8], model: &Decoding) -> Result<TextRequest, Failure> {
    let mut fields = Fields::of_body(body)?;
    model.check_name(&mut fields)?;
    let prompt = fields
        .take("prompt")
        .ok_or_else(|| Failure::field("prompt", "`prompt` is missing"))?;
    let is_echo = fields.flag("echo")?;
    let logprobs = fields.count("logprobs", MOST_TOP)?;
    let by_number = fields.flag("return_tokens_as_token_ids")?;
    let (is_stream, counts_tokens) = streaming(&mut fields)?;
    let max_tokens = fields.count("max_tokens", model.max_tokens)?;
    let max_tokens = max_tokens.unwrap_or(TOKENS.min(model.max_tokens));
    let sampling = sampling(&mut fields, &model.sampling)?;
    let stops = stops(&mut fields)?;
    fields.only(&[
        ("n", &[json!(1)]),
        ("best_of", &[json!(1)]),
        ("suffix", &[json!("")]),
        ("logit_bias", &[json!({})]),
    ])?;
    // Names whoever asks, which changes no answer.
    fields.text("user")?;
    fields.end()?;
    let prompts = prompts(&prompt, model)?;
    let scores = Scores {
        of_new: logprobs.is_some(),
        of_prompt: is_echo && logprobs.is_some(),
        top: logprobs.unwrap_or(0),
    };
    let mut texts = Vec::new();
    let mut asked = Vec::new();
    for (text, tokens) in prompts {
        model.check_prompt("prompt", &tokens, max_tokens)?;
        texts.push(text);
        asked.push(Continuation {
            prompt: tokens,
            max_tokens,
            sampling: sampling.clone(),
            stops: stops.clone(),
        });
    }
    Ok(TextRequest {
        asked,
        scores,
        shape: Shape::Completion {
            echo: is_echo.then_some(texts),
            by_number,
        },
        is_stream,
        counts_tokens,
    })
}

/// Text and tokens of each prompt.
fn prompts(prompt: &Value, model: &Decoding) -> Result<Vec<(String, Vec<u32>)>, Failure> {
    let expected = "a string, a list of strings, a list of token ids, or a list of such lists";
    let refused = || wrong("prompt", expected, prompt);
    let of_text = |text: &str| Ok((text.to_owned(), model.prompt_tokens(text)?));
    let of_tokens = |list: &[Value]| {
        let tokens = token_ids(list).ok_or_else(refused)?;
        Ok((model.decode(&tokens)?, tokens))
    };
    let list = match prompt {
        Value::String(text) => return Ok(vec![of_text(text)?]),
        Value::Array(list) if !list.is_empty() => list,
        _ => return Err(refused()),
    };
    if list.iter().all(Value::is_number) {
        return Ok(vec![of_tokens(list)?]);
    }
    if list.len() > MOST_PROMPTS {
        return Err(Failure::field(
            "prompt",
            format!(
                "`prompt`: expected at most {MOST_PROMPTS} texts, found {}",
                list.len()
            ),
        ));
    }
    let each = list.iter().map(|one| match one {
        Value::String(text) => of_text(text),
        Value::Array(list) => of_tokens(list),
        _ => Err(refused()),
    });
    each.collect()
}

/// Token ids written as numbers.
pub(super) fn token_ids(list: &[Value]) -> Option<Vec<u32>> {
    let ids = list.iter().map(|id| u32::try_from(id.as_u64()?).ok());
    ids.collect()
}
