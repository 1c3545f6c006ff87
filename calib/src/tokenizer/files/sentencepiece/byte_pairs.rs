//! Classes that read a sentencepiece model as byte pairs: Llama, `CodeLlama`, Gemma.

use super::super::super::assembly::{Pipeline, part};
use super::super::super::settings::{Settings, Special};
use super::generic::added_pieces;
use super::merges;
use super::model_file::ModelFile;
use serde_json::{Value, json};
use tokenizers::Error;
use tokenizers::models::bpe::{BPE, BpeBuilder, Vocab};

fn model_of(model: &ModelFile) -> BpeBuilder {
    let ids = model.pieces.iter().zip(0..);
    let vocabulary: Vocab = ids.map(|(piece, id)| (piece.text.clone(), id)).collect();
    BPE::builder()
        .vocab_and_merges(vocabulary, merges::by_place(model))
        .fuse_unk(true)
        .byte_fallback(true)
}

/// `▁` to a space, bytes to letters, and where `strip`, the space before the text goes.
fn decoder(strip: bool) -> Value {
    let mut steps = vec![
        json!({ "type": "Replace", "pattern": { "String": "▁" }, "content": " " }),
        json!({ "type": "ByteFallback" }),
        json!({ "type": "Fuse" }),
    ];
    if strip {
        steps.push(json!({ "type": "Strip", "content": " ", "start": 1, "stop": 0 }));
    }
    json!({ "type": "Sequence", "decoders": steps })
}

fn metaspace(scheme: &str) -> Value {
    json!({ "type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": false })
}

pub(super) fn llama(model: &ModelFile, settings: &mut Settings) -> Result<Pipeline, Error> {
    let prefix = settings.flag("add_prefix_space", true);
    let scheme = match (prefix, settings.flag_unless_null("legacy", false)) {
        (false, _) => "never",
        (true, true) => "always",
        (true, false) => "first",
    };
    Ok(Pipeline {
        model: model_of(model).build()?.into(),
        normalizer: None,
        pre_tokenizer: Some(part(metaspace(scheme))?),
        decoder: Some(part(decoder(prefix))?),
        first: Vec::new(),
        extra: Some(added_pieces(model)),
    })
}

pub(super) fn code_llama(model: &ModelFile, settings: &mut Settings) -> Result<Pipeline, Error> {
    let prefix = settings.flag("add_prefix_space", true);
    let unknown = settings.text("unk_token", "<unk>");
    // The class adds a begin of sequence unless it is told not to.
    settings.set_default_flag("add_bos_token", true);
    let mut extra = added_pieces(model);
    let infilling = [
        ("prefix_token", "▁<PRE>"),
        ("middle_token", "▁<MID>"),
        ("suffix_token", "▁<SUF>"),
        ("eot_token", "▁<EOT>"),
        ("fill_token", "<FILL_ME>"),
    ];
    extra.extend(infilling.map(|(key, text)| Special::Text(settings.text(key, text))));
    Ok(Pipeline {
        model: model_of(model).unk_token(unknown).build()?.into(),
        normalizer: None,
        pre_tokenizer: Some(part(metaspace(if prefix { "first" } else { "never" }))?),
        decoder: Some(part(decoder(true))?),
        first: Vec::new(),
        extra: Some(extra),
    })
}

pub(super) fn gemma(
    model: &ModelFile,
    settings: &Settings,
    lower: bool,
) -> Result<Pipeline, Error> {
    let spaces = json!({ "type": "Replace", "pattern": { "String": " " }, "content": "▁" });
    let normalizer = if lower {
        json!({ "type": "Sequence", "normalizers": [{ "type": "Lowercase" }, spaces] })
    } else {
        spaces
    };
    let unknown = settings.text("unk_token", "<unk>");
    Ok(Pipeline {
        model: model_of(model).unk_token(unknown).build()?.into(),
        normalizer: Some(part(normalizer)?),
        pre_tokenizer: Some(part(
            json!({ "type": "Split", "pattern": { "String": " " },
            "behavior": "MergedWithPrevious", "invert": false }),
        )?),
        decoder: Some(part(decoder(false))?),
        first: Vec::new(),
        extra: Some(added_pieces(model)),
    })
}
