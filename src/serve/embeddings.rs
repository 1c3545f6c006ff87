//! `/v1/embeddings`: texts as vectors of unit length.

use super::completions::token_ids;
use super::failure::Failure;
use super::fields::{Fields, wrong};
use super::served::Encoding;
use serde_json::{Value, json};

/// Most texts of one request.
const MOST_TEXTS: usize = 2048;

/// A request, understood.
#[derive(Debug)]
pub(super) struct EmbeddingRequest {
    /// Tokens of each text.
    pub(super) texts: Vec<Vec<u32>>,
    is_base64: bool,
}

/// Reads a request.
///
/// # Errors
/// Fields that are not known or cannot be honoured, texts that are too long.
pub(super) fn read(body: &[u8], model: &Encoding) -> Result<EmbeddingRequest, Failure> {
    let mut fields = Fields::of_body(body)?;
    model.check_name(&mut fields)?;
    let input = fields
        .take("input")
        .ok_or_else(|| Failure::field("input", "`input` is missing"))?;
    let is_base64 = match fields.text("encoding_format")?.as_deref() {
        None | Some("float") => false,
        Some("base64") => true,
        Some(other) => {
            let expected = "\"float\" or \"base64\"";
            return Err(wrong("encoding_format", expected, &Value::from(other)));
        }
    };
    fields.only(&[("dimensions", &[])])?;
    // Names whoever asks, which changes no answer.
    fields.text("user")?;
    fields.end()?;
    let texts = texts(&input, model)?;
    for text in &texts {
        model.check(text)?;
    }
    Ok(EmbeddingRequest { texts, is_base64 })
}

fn texts(input: &Value, model: &Encoding) -> Result<Vec<Vec<u32>>, Failure> {
    let expected = "a string, a list of strings, a list of token ids, or a list of such lists";
    let refused = || wrong("input", expected, input);
    let of_text = |text: &str| {
        let ids = model.tokenizer.encode_special(text, None);
        ids.map_err(|error| Failure::field("input", error.to_string()))
    };
    let list = match input {
        Value::String(text) => return Ok(vec![of_text(text)?]),
        Value::Array(list) if !list.is_empty() && list.len() <= MOST_TEXTS => list,
        Value::Array(list) if list.iter().all(Value::is_number) => list,
        _ => return Err(refused()),
    };
    if list.iter().all(Value::is_number) {
        return Ok(vec![token_ids(list).ok_or_else(refused)?]);
    }
    let each = list.iter().map(|one| match one {
        Value::String(text) => of_text(text),
        Value::Array(list) => token_ids(list).ok_or_else(refused),
        _ => Err(refused()),
    });
    each.collect()
}

impl EmbeddingRequest {
    /// The answer with these vectors.
    pub(super) fn answer(&self, vectors: &[Vec<f32>], model: &str) -> Value {
        let data = vectors.iter().enumerate().map(|(index, vector)| {
            let embedding = if self.is_base64 {
                let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
                Value::from(base64(&bytes))
            } else {
                let digits = vector.iter().map(|x| x.to_string().parse::<f64>());
                digits.map(Result::unwrap_or_default).collect()
            };
            json!({"object": "embedding", "index": index, "embedding": embedding})
        });
        let tokens: usize = self.texts.iter().map(Vec::len).sum();
        json!({
            "object": "list",
            "data": data.collect::<Vec<Value>>(),
            "model": model,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        })
    }
}

/// `vector` at unit length; one of zeros stays.
pub(super) fn of_unit_length(mut vector: Vec<f32>) -> Vec<f32> {
    let squares: f64 = vector.iter().map(|x| f64::from(*x).powi(2)).sum();
    if squares > 0.0 {
        for value in &mut vector {
            #[expect(clippy::cast_possible_truncation, reason = "an embedding is f32")]
            let scaled = (f64::from(*value) / squares.sqrt()) as f32;
            *value = scaled;
        }
    }
    vector
}

/// Bytes in the usual base64, padded.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            if digit <= chunk.len() {
                let at = group >> (18 - 6 * digit) & 63;
                text.push(char::from(DIGITS[at as usize]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_as_the_standard_has_it() {
        let of = |text: &str| base64(text.as_bytes());
        assert_eq!((of("f"), of("fo")), ("Zg==".to_owned(), "Zm8=".to_owned()));
        assert_eq!(of("foobar"), "Zm9vYmFy");
        assert_eq!(of(""), "");
    }

    #[test]
    fn vectors_have_unit_length() {
        assert_eq!(of_unit_length(vec![3.0, 4.0]), [0.6, 0.8]);
        assert_eq!(of_unit_length(vec![0.0; 2]), [0.0, 0.0]);
    }
}
