//! Which part of a tokenizer.json is not understood, where the library that reads it only says that something is not.

use serde::de::DeserializeOwned;
use serde_json::Value;
use tokenizers::{
    DecoderWrapper, ModelWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper,
};

/// Whether the library reads a part.
type Reads = fn(&Value) -> bool;

/// The parts, each with whether the library reads it.
const PARTS: [(&str, Reads); 5] = [
    ("model", reads::<ModelWrapper>),
    ("normalizer", reads::<NormalizerWrapper>),
    ("pre_tokenizer", reads::<PreTokenizerWrapper>),
    ("post_processor", reads::<PostProcessorWrapper>),
    ("decoder", reads::<DecoderWrapper>),
];
/// Types of `model`.
const MODELS: [&str; 4] = ["BPE", "Unigram", "WordLevel", "WordPiece"];

fn reads<T: DeserializeOwned>(part: &Value) -> bool {
    serde_json::from_value::<T>(part.clone()).is_ok()
}

/// What is wrong with the JSON of a tokenizer that the library refuses, in words: the part and its type.
pub(super) fn explain(bytes: &[u8]) -> String {
    let json: Value = match serde_json::from_slice(bytes) {
        Ok(json) => json,
        Err(error) => return format!("it is no JSON: {error}"),
    };
    let Some(object) = json.as_object() else {
        return "it is no JSON object".to_owned();
    };
    let unread = PARTS.iter().find_map(|(name, reads)| {
        let part = object.get(*name).filter(|part| !part.is_null())?;
        (!reads(part)).then_some((*name, part))
    });
    match unread {
        Some((name, part)) => unknown(name, part),
        None if object.get("model").is_none_or(Value::is_null) => "it has no `model`".to_owned(),
        None => "its parts do not fit together".to_owned(),
    }
}

/// A part that is not read: by its type, or by that of the first of its own parts that is not.
fn unknown(name: &str, part: &Value) -> String {
    let inner = ["normalizers", "pretokenizers", "processors", "decoders"];
    let reads = PARTS.iter().find(|(known, _)| *known == name);
    let list = inner.iter().find_map(|key| part[*key].as_array());
    let unread = reads.and_then(|(_, reads)| list?.iter().find(|item| !reads(item)));
    let found = unread.unwrap_or(part);
    let kind = found["type"].as_str().unwrap_or("no type");
    if name != "model" {
        return format!("`{name}`: `{kind}` is not known, or not in this form");
    }
    if MODELS.contains(&kind) {
        return format!("`model`: `{kind}` is not in the form this version reads");
    }
    let known = MODELS.map(|model| format!("`{model}`")).join(", ");
    format!("`model`: expected one of {known}, found `{kind}`")
}

#[cfg(test)]
mod tests {
    use super::explain;
    use serde_json::json;

    fn told(value: &serde_json::Value) -> String {
        explain(value.to_string().as_bytes())
    }

    #[test]
    fn the_part_and_its_type_are_named() {
        let model = json!({ "type": "WordLevel", "vocab": { "a": 0 }, "unk_token": "a" });
        assert_eq!(
            told(&json!({ "model": { "type": "Later", "vocab": {} } })),
            "`model`: expected one of `BPE`, `Unigram`, `WordLevel`, `WordPiece`, found `Later`"
        );
        let split = json!({ "type": "Sequence", "pretokenizers": [
            { "type": "Whitespace" }, { "type": "Later" } ] });
        assert_eq!(
            told(&json!({ "model": model, "pre_tokenizer": split })),
            "`pre_tokenizer`: `Later` is not known, or not in this form"
        );
        assert_eq!(told(&json!({})), "it has no `model`");
        assert!(explain(b"{").starts_with("it is no JSON: "));
    }
}
