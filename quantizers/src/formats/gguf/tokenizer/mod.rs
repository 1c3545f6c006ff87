//! The tokenizer of a GGUF file as the files of a model folder: `tokenizer.json` and `tokenizer_config.json`.
//!
//! Adding a kind is a file here and a row of [`KINDS`].

mod byte_level;
mod sentencepiece;
mod vocabulary;

use super::header::Header;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use vocabulary::Vocabulary;

/// A kind of tokenizer: `tokenizer.ggml.model`, and what makes its parts of `tokenizer.json`.
type Kind = (
    &'static str,
    fn(&Header<'_>, &Vocabulary) -> Result<Parts, String>,
);

/// Every kind that is read.
const KINDS: &[Kind] = &[("gpt2", byte_level::parts), ("llama", sentencepiece::parts)];

/// What the kinds differ in.
struct Parts {
    model: Value,
    normalizer: Value,
    pre_tokenizer: Value,
    decoder: Value,
    /// Whether texts begin with a begin-of-sequence token where the file does not say.
    add_begin: bool,
}

/// The files, by name; none where the file has no tokenizer.
///
/// # Errors
/// A kind that is not read, a vocabulary that is not whole.
pub(super) fn files(header: &Header<'_>) -> Result<BTreeMap<&'static str, Vec<u8>>, String> {
    let Some(kind) = header.text("tokenizer.ggml.model") else {
        return Ok(BTreeMap::new());
    };
    let Some((_, parts)) = KINDS.iter().find(|(name, _)| *name == kind) else {
        let names: Vec<&str> = KINDS.iter().map(|(name, _)| *name).collect();
        return Err(format!(
            "tokenizer.ggml.model: expected {}, found `{kind}`",
            names.join(" or ")
        ));
    };
    let vocabulary = Vocabulary::read(header)?;
    let parts = parts(header, &vocabulary)?;
    let flag = |key: &str, default: bool| {
        header
            .flag(&format!("tokenizer.ggml.{key}"))
            .unwrap_or(default)
    };
    let (add_begin, add_end) = (
        flag("add_bos_token", parts.add_begin),
        flag("add_eos_token", false),
    );
    let around = |key: &str, add: bool| {
        let token = vocabulary.named(header, key);
        token.filter(|_| add)
    };
    let (begin, end) = (around("bos", add_begin), around("eos", add_end));
    let tokenizer = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": vocabulary.added(),
        "normalizer": parts.normalizer,
        "pre_tokenizer": parts.pre_tokenizer,
        "post_processor": template(begin, end),
        "decoder": parts.decoder,
        "model": parts.model,
    });
    let mut settings = Map::new();
    settings.insert(
        "tokenizer_class".to_owned(),
        json!("PreTrainedTokenizerFast"),
    );
    for (there, here) in [
        ("bos", "bos_token"),
        ("eos", "eos_token"),
        ("unknown", "unk_token"),
        ("padding", "pad_token"),
    ] {
        if let Some((_, token)) = vocabulary.named(header, there) {
            settings.insert(here.to_owned(), json!(token));
        }
    }
    settings.insert("add_bos_token".to_owned(), json!(add_begin));
    settings.insert("add_eos_token".to_owned(), json!(add_end));
    if let Some(template) = header.text("tokenizer.chat_template") {
        settings.insert("chat_template".to_owned(), json!(template));
    }
    let architecture = header.text("general.architecture").unwrap_or_default();
    if let Some(length) = header.number(&format!("{architecture}.context_length")) {
        settings.insert("model_max_length".to_owned(), json!(length));
    }
    let text = |value: &Value| format!("{value:#}\n").into_bytes();
    Ok(BTreeMap::from([
        ("tokenizer.json", tokenizer.to_string().into_bytes()),
        ("tokenizer_config.json", text(&Value::Object(settings))),
    ]))
}

/// The special tokens around a text.
fn template(begin: Option<(u64, &str)>, end: Option<(u64, &str)>) -> Value {
    if begin.is_none() && end.is_none() {
        return Value::Null;
    }
    let special = |token: Option<(u64, &str)>, kind: u8| {
        token.map(|(_, text)| json!({ "SpecialToken": { "id": text, "type_id": kind } }))
    };
    let sequence = |name: &str, kind: u8| json!({ "Sequence": { "id": name, "type_id": kind } });
    let around = |name: &str, kind: u8| {
        let parts = [
            special(begin, kind),
            Some(sequence(name, kind)),
            special(end, kind),
        ];
        parts.into_iter().flatten().collect::<Vec<Value>>()
    };
    let single = around("A", 0);
    let pair: Vec<Value> = single.iter().cloned().chain(around("B", 1)).collect();
    let tokens: Map<String, Value> = [begin, end]
        .into_iter()
        .flatten()
        .map(|(id, text)| {
            let token = json!({ "id": text, "ids": [id], "tokens": [text] });
            (text.to_owned(), token)
        })
        .collect();
    json!({ "type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": tokens })
}
