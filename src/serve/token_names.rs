//! How tokens are written in answers, with their probabilities.

use super::job::Scored;
use calib::tokenizer::Tokenizer;
use serde_json::Value;

/// What the logarithm of no probability at all is written as: JSON has no infinity.
const LEAST: f64 = -9999.0;

/// A token as it is written.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct NamedScore {
    pub(super) name: String,
    /// Where it begins in the text, in characters.
    pub(super) offset: usize,
    pub(super) log_probability: Option<f64>,
    /// The likeliest tokens in its place.
    pub(super) top: Vec<(String, f64)>,
}

/// Names the tokens of one text, in their order.
#[derive(Debug)]
pub(super) struct TokenNames {
    previous: Option<u32>,
    offset: usize,
    by_number: bool,
}

impl TokenNames {
    /// Begins with the token after `previous`; `by_number` writes `token_id:5` rather than a text.
    pub(super) fn new(previous: Option<u32>, by_number: bool) -> Self {
        Self {
            previous,
            offset: 0,
            by_number,
        }
    }

    /// The next token.
    pub(super) fn named(&mut self, scored: &Scored, tokenizer: &Tokenizer) -> NamedScore {
        let (name, characters) = self.name(scored.token, tokenizer);
        let top = scored.top.iter();
        let top = top.map(|(token, log)| (self.name(*token, tokenizer).0, *log));
        let named = NamedScore {
            name,
            offset: self.offset,
            log_probability: scored.log_probability,
            top: top.collect(),
        };
        self.offset += characters;
        self.previous = Some(scored.token);
        named
    }

    /// How `token` is written here, and how many characters of the text it is.
    fn name(&self, token: u32, tokenizer: &Tokenizer) -> (String, usize) {
        let text = text_after(self.previous, token, tokenizer);
        let characters = text.chars().count();
        let name = if self.by_number {
            format!("token_id:{token}")
        } else if text.is_empty() {
            // Special tokens are no text.
            tokenizer.token(token).unwrap_or_default()
        } else {
            text
        };
        (name, characters)
    }
}

/// What `token` adds to a text that ends with `previous`.
fn text_after(previous: Option<u32>, token: u32, tokenizer: &Tokenizer) -> String {
    let decode = |tokens: &[u32]| tokenizer.decode(tokens).unwrap_or_default();
    if let Some(previous) = previous {
        let before = decode(&[previous]);
        let both = decode(&[previous, token]);
        if let Some(text) = both.strip_prefix(&before) {
            return text.to_owned();
        }
    }
    decode(&[token])
}

/// The logarithm of a probability, with as many digits as f32 has.
pub(super) fn figure(log_probability: f64) -> Value {
    #[expect(clippy::cast_possible_truncation, reason = "logits are f32")]
    let short = log_probability.max(LEAST) as f32;
    let digits = short.to_string().parse::<f64>();
    Value::from(digits.unwrap_or(LEAST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short_and_never_infinite() {
        assert_eq!(figure(-1.100_000_000_1).to_string(), "-1.1");
        assert_eq!(figure(f64::NEG_INFINITY).to_string(), "-9999.0");
    }
}
